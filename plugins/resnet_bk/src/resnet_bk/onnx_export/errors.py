"""What can go wrong with an export."""

from __future__ import annotations

from pathlib import Path

from modelplug.errors import EXIT_NOTHING_SUITABLE, ModelplugError

__all__ = ["OnnxExportError", "OnnxMismatchError", "OnnxPackagesMissingError"]


class OnnxExportError(ModelplugError):
    """A model can't be exported, or the file can't be written; nothing is there that was not before.

    Attributes:
        path: The file that was to be written.
    """

    def __init__(self, what: str, *, path: Path, why: str = "", advice: str = "", **data: object) -> None:
        self.path = path
        super().__init__(what, why=why, advice=advice, path=path, **data)


class OnnxMismatchError(OnnxExportError):
    """The file computes something else than the model.

    Attributes:
        error: The largest difference, over the largest absolute value that the model gives.
        tolerance: How large it may be.
        shape: Texts and tokens of the input.
    """

    def __init__(
        self,
        what: str,
        *,
        path: Path,
        error: float,
        tolerance: float,
        shape: tuple[int, int],
        why: str = "",
        advice: str = "",
    ) -> None:
        self.error = error
        self.tolerance = tolerance
        self.shape = shape
        super().__init__(
            what, path=path, why=why, advice=advice, error=error, tolerance=tolerance, shape=shape
        )


class OnnxPackagesMissingError(ModelplugError, ImportError):
    """Packages are missing, or too old, that exports need.

    Attributes:
        packages: Their names.
    """

    exit_code = EXIT_NOTHING_SUITABLE

    def __init__(self, what: str, *, packages: tuple[str, ...], why: str = "", advice: str = "") -> None:
        self.packages = packages
        super().__init__(what, why=why, advice=advice, packages=packages)
