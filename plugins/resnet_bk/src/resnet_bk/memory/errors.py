"""What can go wrong with saving memory, and what should be known."""

from __future__ import annotations

from modelplug.errors import EXIT_USAGE, ModelplugError

__all__ = ["MemorySavingError", "NothingToOffloadWarning", "UnknownOptionError"]


class MemorySavingError(ModelplugError, RuntimeError):
    """Memory can't be saved in the way that was asked for.

    Attributes:
        option: The option at fault.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, option: str, why: str = "", advice: str = "") -> None:
        self.option = option
        super().__init__(what, why=why, advice=advice, option=option)


class UnknownOptionError(MemorySavingError, TypeError):
    """There is no option of that name, or there is none any more.

    Attributes:
        nearest: The name that was probably meant; empty if none comes near.
    """

    def __init__(self, what: str, *, option: str, nearest: str = "", why: str = "", advice: str = "") -> None:
        self.nearest = nearest
        super().__init__(what, option=option, why=why, advice=advice)
        self.data["nearest"] = nearest


class NothingToOffloadWarning(UserWarning):
    """Offloading was asked for where there is nowhere to move anything; the model is as it was."""
