"""Every error of this package that a user can meet; all belong to modelplug's family."""

from __future__ import annotations

from modelplug.errors import EXIT_NOTHING_SUITABLE, EXIT_USAGE, ModelplugError

__all__ = ["InvalidInputError", "KernelUnavailableError"]


class InvalidInputError(ModelplugError, ValueError):
    """A tensor or number can't be computed with: its values, shape or type are not allowed.

    Attributes:
        tensor: The name of the argument.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, tensor: str, why: str = "", advice: str = "") -> None:
        self.tensor = tensor
        super().__init__(what, why=why, advice=advice, tensor=tensor)


class KernelUnavailableError(ModelplugError, RuntimeError):
    """The kernel that was asked for can't run here.

    Attributes:
        kernel: Its name.
    """

    exit_code = EXIT_NOTHING_SUITABLE

    def __init__(self, what: str, *, kernel: str, why: str = "", advice: str = "") -> None:
        self.kernel = kernel
        super().__init__(what, why=why, advice=advice, kernel=kernel)
