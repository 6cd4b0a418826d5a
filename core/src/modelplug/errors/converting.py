"""Errors of converting models from one format to another."""

from __future__ import annotations

from pathlib import Path

from modelplug.errors.base import ModelplugError

__all__ = ["ConversionError", "ConversionMismatchError", "ConversionRefusedError"]


class ConversionError(ModelplugError):
    """A model could not be converted; nothing was left at the place of the result.

    Attributes:
        path: The file or directory at fault: the source as a rule, the result where that can't be written.
    """

    def __init__(self, what: str, *, path: Path, why: str = "", advice: str = "", **data: object) -> None:
        self.path = path
        super().__init__(what, why=why, advice=advice, path=path, **data)


class ConversionRefusedError(ConversionError):
    """A conversion that is not done here, before anything was written.

    Attributes:
        tool: The program that can do it; empty where none can, or where the source must change first.
    """

    def __init__(self, what: str, *, path: Path, tool: str = "", why: str = "", advice: str = "") -> None:
        self.tool = tool
        super().__init__(what, path=path, why=why, advice=advice, tool=tool)


class ConversionMismatchError(ConversionError):
    """The converted model does not compute what its source computes, so it was thrown away.

    Attributes:
        measured: How far apart the two are; None where it is not a matter of degree.
        limit: How far apart they may be.
    """

    def __init__(
        self,
        what: str,
        *,
        path: Path,
        measured: float | None = None,
        limit: float | None = None,
        why: str = "",
        advice: str = "",
    ) -> None:
        self.measured = measured
        self.limit = limit
        super().__init__(what, path=path, why=why, advice=advice, measured=measured, limit=limit)
