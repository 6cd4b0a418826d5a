"""Errors of this backend, and everything the engine raises turned into one of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from modelplug.errors import BackendError, ModelplugError
from modelplug.formats.model_info import ModelInfo
from resnet_bk.backend import NAME

__all__ = ["closed", "not_finite", "refuse", "translated"]


def refuse(info: ModelInfo, why: str, advice: str, *, cause: str = "unsupported") -> BackendError:
    """The error for a model that can't be run here.

    Args:
        info: The model.
        why: The reason.
        advice: What to do instead.
        cause: The short machine-readable cause.
    """
    what = f"{info.path.name} can't be run"
    return BackendError(what, backend=NAME, phase="load", cause=cause, why=why, advice=advice)


def not_finite() -> BackendError:
    """The error for a model that computes no numbers."""
    return BackendError(
        "the model computes no numbers (NaN or infinity)",
        backend=NAME,
        phase="generate",
        cause="not-finite",
        why="its weights are damaged, or the data type is too narrow for it",
        advice=f"Set backends.{NAME}.dtype to float32; or get the file again.",
    )


def closed(phase: str) -> BackendError:
    """The error for a model that was closed."""
    return BackendError(
        "the model is closed", backend=NAME, phase=phase, cause="closed", advice="Load it again."
    )


@contextmanager
def translated(phase: str, what: str) -> Iterator[None]:
    """Turn whatever the engine raises into a `BackendError` that says what happened.

    Args:
        phase: For the error.
        what: For the error, a sentence without a full stop.
    """
    try:
        yield
    except BackendError:
        raise
    except ModelplugError as error:
        # One of ours, with a reason and advice of its own.
        raise BackendError(
            what, backend=NAME, phase=phase, cause="unsupported", why=str(error), advice=error.advice
        ) from error
    except pickle.UnpicklingError as error:
        raise BackendError(
            what,
            backend=NAME,
            phase=phase,
            cause="unsupported",
            why="its weights are in a pickle that holds more than tensors, which loading would run",
            advice="Get the weights as model.safetensors from whoever made them.",
        ) from error
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        memory = "out of memory" in text.lower() or "can't allocate memory" in text
        raise BackendError(
            f"{what}: out of memory" if memory else what,
            backend=NAME,
            phase=phase,
            cause="out-of-memory" if memory else "exception",
            why=f"{type(error).__name__}: {text.splitlines()[0]}",
            advice=(
                f"Close other programs, or set backends.{NAME}.dtype to bfloat16."
                if memory
                else "Run again with --debug for the engine's own traceback."
            ),
        ) from error
