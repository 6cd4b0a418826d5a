"""What can go wrong with a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelplug.errors import EXIT_USAGE, ConfigError, ModelplugError

__all__ = [
    "ConfigFileError",
    "RunExistsError",
    "RunMismatchError",
    "TrainingConfigError",
    "TrainingError",
    "TrainingFailedError",
]


class TrainingConfigError(ConfigError):
    """A setting of a training run makes no sense."""

    exit_code = EXIT_USAGE


class TrainingError(ModelplugError):
    """Training can't begin or go on."""


class ConfigFileError(TrainingError):
    """A configuration file can't be used.

    Attributes:
        path: The file.
        problems: What is wrong with its entries, each with `line`, `key`, `value`, `allowed`, `nearest` and
            `kind`; empty if the file can't be used at all.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self, what: str, *, path: Path, problems: tuple[dict[str, Any], ...] = (), **rest: Any
    ) -> None:
        self.path = path
        self.problems = problems
        super().__init__(what, path=path, problems=list(problems), **rest)


class RunExistsError(TrainingError):
    """The output folder holds a run already.

    Attributes:
        path: The folder.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, path: Path, **rest: Any) -> None:
        self.path = path
        super().__init__(what, path=path, **rest)


class RunMismatchError(TrainingError):
    """A run can't be resumed with other data, or in another order, than it was begun with.

    Attributes:
        differences: What differs -> the value now, and the one in the checkpoint.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, differences: dict[str, tuple[object, object]], **rest: Any) -> None:
        self.differences = differences
        super().__init__(what, differences=differences, **rest)


class TrainingFailedError(TrainingError):
    """Training failed again and again, and whatever could be tried was tried.

    Attributes:
        report: The file that says what was seen when, and what was tried.
    """

    def __init__(self, what: str, *, report: Path, **rest: Any) -> None:
        self.report = report
        super().__init__(what, report=report, **rest)
