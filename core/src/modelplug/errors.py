"""Every error a user can meet, with its exit code, its cause and its advice.

All of them derive from `ModelplugError`. An error answers three questions, each an attribute: `what`
happened, `why`, and `advice`, which says what to type next. Further data lives in attributes of the
subclass, so that a program can act on an error without parsing text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BackendError",
    "CapabilityError",
    "ConfigError",
    "ContextOverflowError",
    "DoesNotFitError",
    "GenerationCancelledError",
    "ModelFileError",
    "ModelNotFoundError",
    "ModelplugError",
    "NotAModelError",
    "NothingSuitableError",
    "PluginError",
    "TruncatedModelError",
    "UnsupportedFormatError",
    "UnsupportedParameterError",
    "UsageError",
    "WorkerCrashedError",
    "WorkerTimeoutError",
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


# Model files ------------------------------------------------------------------------------------------


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


# Running ----------------------------------------------------------------------------------------------


class DoesNotFitError(ModelplugError):
    """The model needs more memory than this machine has free.

    Attributes:
        needed: Bytes needed.
        available: Bytes available.
    """

    def __init__(self, what: str, *, needed: int, available: int, why: str = "", advice: str = "") -> None:
        self.needed = needed
        self.available = available
        super().__init__(what, why=why, advice=advice, needed=needed, available=available)


class BackendError(ModelplugError):
    """An engine failed: it raised, crashed, hung or refused.

    Attributes:
        backend: The backend's name.
        phase: `start`, `load`, `first-token`, `generate`, `tokenize`, `embed` or `close`.
        cause: A short machine-readable cause, for example `exception`, `out-of-memory`, `crash`, `timeout`,
            `unsupported`, `start-failed`.
        stderr_tail: The last lines the engine wrote to its standard error.
    """

    def __init__(
        self,
        what: str,
        *,
        backend: str,
        phase: str,
        cause: str = "exception",
        stderr_tail: str = "",
        why: str = "",
        advice: str = "",
        **data: object,
    ) -> None:
        self.backend = backend
        self.phase = phase
        self.cause = cause
        self.stderr_tail = stderr_tail
        super().__init__(
            what,
            why=why,
            advice=advice,
            backend=backend,
            phase=phase,
            cause=cause,
            stderr_tail=stderr_tail,
            **data,
        )

    @property
    def is_fault(self) -> bool:
        """Whether something went wrong in the engine, as opposed to a request refused or given up."""
        return self.cause not in _REFUSALS


_REFUSALS = frozenset({"cancelled", "closed", "context-overflow", "cool-down", "empty-prompt"})


class WorkerCrashedError(BackendError):
    """The engine's process died.

    Attributes:
        exit_status: Its exit code, or minus the signal number.
        signal_name: For example `SIGSEGV`; None if it exited by itself.
    """

    def __init__(
        self, what: str, *, exit_status: int | None, signal_name: str | None = None, **rest: Any
    ) -> None:
        self.exit_status = exit_status
        self.signal_name = signal_name
        rest.setdefault("cause", "crash")
        super().__init__(what, exit_status=exit_status, signal_name=signal_name, **rest)


class WorkerTimeoutError(BackendError):
    """The engine did not answer within its deadline, and was stopped.

    Attributes:
        seconds: The deadline.
    """

    def __init__(self, what: str, *, seconds: float, **rest: Any) -> None:
        self.seconds = seconds
        rest.setdefault("cause", "timeout")
        super().__init__(what, seconds=seconds, **rest)


class ContextOverflowError(BackendError):
    """The prompt does not fit into the context.

    Attributes:
        prompt_tokens: Tokens in the prompt.
        context_size: Tokens the context holds.
    """

    def __init__(self, what: str, *, prompt_tokens: int, context_size: int, **rest: Any) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_size = context_size
        rest.setdefault("cause", "context-overflow")
        rest.setdefault("phase", "generate")
        super().__init__(what, prompt_tokens=prompt_tokens, context_size=context_size, **rest)


class CapabilityError(BackendError):
    """The backend does not have the capability that was asked for (embeddings, grammar, ...).

    Attributes:
        capability: Its name in `Capabilities`.
    """

    def __init__(self, what: str, *, capability: str, **rest: Any) -> None:
        self.capability = capability
        rest.setdefault("cause", "unsupported")
        rest.setdefault("phase", "generate")
        super().__init__(what, capability=capability, **rest)


class UnsupportedParameterError(CapabilityError):
    """A sampling parameter or setting was given that this backend can't honour.

    Attributes:
        parameter: Its name.
        value: The value given.
        supported: The names the backend does understand.
    """

    def __init__(
        self, what: str, *, parameter: str, value: object, supported: Iterable[str] = (), **rest: Any
    ) -> None:
        self.parameter = parameter
        self.value = value
        self.supported = tuple(supported)
        super().__init__(
            what, capability=parameter, parameter=parameter, value=value, supported=self.supported, **rest
        )


class GenerationCancelledError(BackendError):
    """The request was cancelled by whoever made it."""

    def __init__(self, what: str = "the request was cancelled", **rest: Any) -> None:
        rest.setdefault("cause", "cancelled")
        rest.setdefault("phase", "generate")
        super().__init__(what, **rest)


# Settings ---------------------------------------------------------------------------------------------


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
