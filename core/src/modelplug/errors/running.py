"""Errors of loading and running models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.errors.base import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BackendError",
    "CapabilityError",
    "ContextOverflowError",
    "DoesNotFitError",
    "GenerationCancelledError",
    "UnsupportedParameterError",
    "WorkerCrashedError",
    "WorkerTimeoutError",
]


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
