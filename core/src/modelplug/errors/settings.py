"""Errors about settings."""

from __future__ import annotations

from pathlib import Path

from modelplug.errors.base import ModelplugError

__all__ = [
    "ConfigError",
]


class ConfigError(ModelplugError):
    """A setting is wrong, or the settings file can't be read or written.

    Attributes:
        key: The dotted key at fault; empty if the file as a whole is.
        value: The value found.
        path: The file.
    """

    def __init__(
        self,
        what: str,
        *,
        key: str = "",
        value: object = None,
        path: Path | None = None,
        why: str = "",
        advice: str = "",
    ) -> None:
        self.key = key
        self.value = value
        self.path = path
        super().__init__(what, why=why, advice=advice, key=key, value=value, path=path)
