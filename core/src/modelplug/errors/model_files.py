"""Errors about model files."""

from __future__ import annotations

from pathlib import Path

from modelplug.errors.base import ModelplugError

__all__ = [
    "ModelFileError",
    "ModelNotFoundError",
    "NotAModelError",
    "TruncatedModelError",
    "UnsupportedFormatError",
]


class ModelFileError(ModelplugError):
    """A model file can't be used as it is.

    Attributes:
        path: The file (or directory).
        offset: Where in the file the fault lies, in bytes from its start; None where that has no meaning.
    """

    def __init__(
        self, what: str, *, path: Path, offset: int | None = None, why: str = "", advice: str = ""
    ) -> None:
        self.path = path
        self.offset = offset
        super().__init__(what, why=why, advice=advice, path=path, offset=offset)


class ModelNotFoundError(ModelFileError):
    """There is no such file, directory or registered name."""


class NotAModelError(ModelFileError):
    """The file is something else: a Git LFS pointer, a web page, an empty file, an unknown format."""


class TruncatedModelError(ModelFileError):
    """The file ends before its own header says it does, as an interrupted download does.

    Attributes:
        expected: The size in bytes the header calls for; None if unknown.
        actual: The size in bytes on disk.
    """

    def __init__(
        self,
        what: str,
        *,
        path: Path,
        offset: int | None = None,
        expected: int | None = None,
        actual: int | None = None,
        why: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(what, path=path, offset=offset, why=why, advice=advice)
        self.expected = expected
        self.actual = actual
        self.data.update(expected=expected, actual=actual)


class UnsupportedFormatError(ModelFileError):
    """The file is a model in a format or format version that can't be read here."""
