"""What can be wrong with asking for quantised weights."""

from __future__ import annotations

from modelplug.errors import EXIT_USAGE, ModelplugError

__all__ = ["QuantizationError"]


class QuantizationError(ModelplugError, ValueError):
    """Weights can't be quantised as asked.

    Attributes:
        key: The part or setting at fault.
        value: What was asked of it.
        nearest: The name that was probably meant; empty if none comes near.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self, what: str, *, key: str, value: object = None, nearest: str = "", why: str = "", advice: str = ""
    ) -> None:
        self.key = key
        self.value = value
        self.nearest = nearest
        super().__init__(what, why=why, advice=advice, key=key, value=value, nearest=nearest)
