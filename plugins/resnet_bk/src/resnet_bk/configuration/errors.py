"""What can be wrong with a configuration."""

from __future__ import annotations

from modelplug.errors import EXIT_USAGE, ModelplugError

__all__ = ["ConfigurationError", "SeesTheFutureWarning", "UnknownSettingError", "UnusedSettingWarning"]


class ConfigurationError(ModelplugError, ValueError):
    """A model can't be built from this configuration.

    Attributes:
        key: The setting at fault.
        value: Its value.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, key: str, value: object = None, why: str = "", advice: str = "") -> None:
        self.key = key
        self.value = value
        super().__init__(what, why=why, advice=advice, key=key, value=value)


class UnknownSettingError(ConfigurationError, TypeError):
    """There is no setting of that name.

    Attributes:
        nearest: The name that was probably meant; empty if none comes near.
    """

    def __init__(self, what: str, *, key: str, nearest: str = "", why: str = "", advice: str = "") -> None:
        self.nearest = nearest
        super().__init__(what, key=key, why=why, advice=advice)
        self.data["nearest"] = nearest


class UnusedSettingWarning(UserWarning):
    """A setting asks for something that models of this version do not do; it is kept and changes nothing."""


class SeesTheFutureWarning(UserWarning):
    """The model's output at a token depends on the tokens after it, so it can't predict them."""
