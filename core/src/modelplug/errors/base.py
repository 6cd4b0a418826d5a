"""What every error is, and those that belong to no single room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EXIT_DONE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_NOTHING_SUITABLE",
    "EXIT_USAGE",
    "ModelplugError",
    "NothingSuitableError",
    "PluginError",
    "UsageError",
]

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_SUITABLE = 3
EXIT_INTERRUPTED = 130


class ModelplugError(Exception):
    """The base of every error modelplug raises on purpose.

    Args:
        what: What happened, one sentence without a final full stop.
        why: The cause, as far as it is known.
        advice: What the reader can type or change next.
        data: Further facts, kept as attributes by subclasses and shown in JSON output.
    """

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, what: str, *, why: str = "", advice: str = "", **data: object) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.advice = advice
        self.data: dict[str, object] = dict(data)

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with positional arguments only and lose why, advice and data.
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))

    def to_dict(self) -> dict[str, object]:
        """Everything the error knows, as plain data that `json.dumps` accepts."""
        plain = {key: _plain(value) for key, value in self.data.items()}
        return {
            "error": type(self).__name__,
            "what": self.what,
            "why": self.why,
            "advice": self.advice,
            "exit_code": self.exit_code,
            **plain,
        }


def _rebuild(cls: type[ModelplugError], args: tuple[Any, ...], state: dict[str, Any]) -> ModelplugError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)


class UsageError(ModelplugError):
    """The command or call was written wrongly; nothing was tried."""

    exit_code = EXIT_USAGE


class NothingSuitableError(ModelplugError):
    """No installed and healthy backend can do the job.

    Attributes:
        reasons: Backend name -> why it was ruled out.
    """

    exit_code = EXIT_NOTHING_SUITABLE

    def __init__(
        self, what: str, *, reasons: Mapping[str, str] | None = None, why: str = "", advice: str = ""
    ) -> None:
        self.reasons = dict(reasons or {})
        super().__init__(what, why=why, advice=advice, reasons=self.reasons)


class PluginError(ModelplugError):
    """A plugin could not be used, or broke the contract.

    Attributes:
        plugin: Its entry-point name.
        distribution: The distribution it came in, if known.
    """

    exit_code = EXIT_NOTHING_SUITABLE

    def __init__(
        self, what: str, *, plugin: str, distribution: str | None = None, why: str = "", advice: str = ""
    ) -> None:
        self.plugin = plugin
        self.distribution = distribution
        super().__init__(what, why=why, advice=advice, plugin=plugin, distribution=distribution)
