"""Turns what a server answers, or fails to answer, into modelplug's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.backends.streaming import OVERFLOW_ADVICE
from modelplug.errors import BackendError, ContextOverflowError, WorkerTimeoutError
from modelplug_llamafile.server import crashed, has_ended

if TYPE_CHECKING:
    from modelplug.backends.types import Deadlines
    from modelplug_llamafile.http import HttpStatusError
    from modelplug_llamafile.server import RunningServer

__all__ = ["closed", "refused", "request_failed"]

NAME = "llamafile"
# How long a connection may have been broken before the program is seen to have ended.
LAST_BREATH = 1.0


def closed(phase: str) -> BackendError:
    """The error for using a model after `close`."""
    return BackendError(
        "the model has been closed", backend=NAME, phase=phase, cause="closed", advice="Load it again."
    )


def refused(error: HttpStatusError, phase: str, context_size: int, server: RunningServer) -> BackendError:
    """The error for an answer with another status than 200."""
    if error.kind == "exceed_context_size_error":
        count = int(error.details.get("n_prompt_tokens", 0))
        return ContextOverflowError(
            f"the prompt has {count} tokens, but the context holds {context_size}",
            prompt_tokens=count,
            context_size=context_size,
            backend=NAME,
            why="prompt and output share the context, and the output needs at least one token",
            advice=OVERFLOW_ADVICE,
        )
    if error.status in (404, 405, 501):
        return BackendError(
            f"the llamafile server has no endpoint {error.path}",
            backend=NAME,
            phase=phase,
            cause="unsupported",
            why=f"it answered with HTTP status {error.status}: {error}",
            advice="Use another version of llamafile, or another backend with --backend llamacpp.",
        )
    invalid = error.status == 400
    return BackendError(
        "llamafile refused the request" if invalid else "llamafile failed on the request",
        backend=NAME,
        phase=phase,
        cause="unsupported" if invalid else "exception",
        stderr_tail=server.process.tail(20),
        why=f"HTTP status {error.status}: {error}",
        advice="Check the parameters, the grammar above all."
        if invalid
        else "Try again, or another backend.",
    )


def request_failed(error: Exception, phase: str, server: RunningServer, deadlines: Deadlines) -> BackendError:
    """The error for a connection that broke, or a silence that was too long."""
    if isinstance(error, TimeoutError):
        return WorkerTimeoutError(
            "llamafile did not answer in time",
            seconds=deadlines.first_token or 0.0,
            backend=NAME,
            phase="first-token" if phase == "generate" else phase,
            stderr_tail=server.process.tail(20),
            why=f"it was silent for {deadlines.first_token:g} s",
            advice="Allow more with --timeout, or use a shorter prompt or a smaller model.",
        )
    if has_ended(server.process, LAST_BREATH):
        return crashed(server.process, phase)
    return BackendError(
        "the llamafile server broke off",
        backend=NAME,
        phase=phase,
        stderr_tail=server.process.tail(20),
        why=str(error) or type(error).__name__,
        advice="Try again; its last words may say why.",
    )
