"""Loading a model: try one plan after the other until one works, and keep account of every attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.cooldown import Cooldown
from modelplug.backends.engine_start import StartedEngine, start_engine
from modelplug.backends.types import Attempt, Deadlines, LoadPlan, LoadRequest
from modelplug.errors import BackendError, ModelplugError, WorkerCrashedError

if TYPE_CHECKING:
    from modelplug.backends.model import CancelToken
    from modelplug.backends.types import BackendReport
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["COOLDOWN_FILE", "LoadOptions", "Loading", "load_first"]

COOLDOWN_FILE = "cooldown.json"
"""The file in the cache directory that remembers crashes."""

# Causes after which the same engine may still work with fewer layers on the same device.
_FEWER_LAYERS_MAY_HELP = frozenset({"out-of-memory", "crash", "exception", "killed", "timeout"})


@attrs.frozen(kw_only=True)
class LoadOptions:
    """How to go about loading.

    Attributes:
        isolation: `process` or `inline`.
        fallback: `never`, `ask` or `auto`.
        deadlines: How long each phase may take.
        embeddings: Whether the model is loaded for `embed`.
        on_attempt: Told of each plan before it is tried.
        on_fallback: With `ask`, decides whether to go on after a failure with the next plan.
        cancel: Stops loading when set.
        explicit_backend: Whether the caller named the backend; a cool-down then does not stop it.
        purpose: What the runs will be for: `use`, or `benchmark` for runs that say nothing of habits.
    """

    isolation: str = "process"
    fallback: str = "auto"
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    embeddings: bool = False
    on_attempt: Callable[[LoadPlan], None] | None = None
    on_fallback: Callable[[Attempt, LoadPlan], bool] | None = None
    cancel: CancelToken | None = None
    explicit_backend: bool = False
    purpose: str = "use"


@attrs.frozen(kw_only=True)
class Loading:
    """What trying came to.

    Attributes:
        engine: The engine that loaded the model; None if none did.
        plan: The plan that worked, or the last one tried.
        attempts: Every attempt, in order.
        seconds: Everything together.
        stopped: Why no further plan was tried after a failure; empty if all were.
    """

    engine: StartedEngine | None
    plan: LoadPlan
    attempts: tuple[Attempt, ...]
    seconds: float
    stopped: str = ""

    @property
    def error(self) -> ModelplugError | None:
        """The failure that matters: the first one, which later plans could not make good."""
        if self.engine is not None:
            return None
        return next((attempt.error for attempt in self.attempts if attempt.error is not None), None)


def load_first(
    info: ModelInfo,
    plans: Sequence[LoadPlan],
    reports: dict[str, BackendReport],
    options: LoadOptions,
    runtime: Runtime,
) -> Loading:
    """Try plans in order until one works.

    A plan whose failure tells that its successor can't work either is skipped together with it: after an
    unsupported architecture, fewer GPU layers change nothing.

    Args:
        info: The model; inspection accepted it.
        plans: What to try, best first; at least one.
        reports: The backends, to know their plugins.
        options: How to go about it.
        runtime: Its cache directory remembers crashes.
    """
    began = time.perf_counter()
    cooldown = Cooldown(runtime.paths.cache / COOLDOWN_FILE)
    attempts: list[Attempt] = []
    waiting = list(plans)
    stopped = ""
    while waiting:
        plan = waiting.pop(0)
        if attempts:
            stopped = _permission(options, attempts[-1], plan)
            if stopped:
                break
        if options.on_attempt is not None:
            options.on_attempt(plan)
        engine, attempt = _attempt(info, plan, reports[plan.backend].plugin, options, cooldown)
        attempts.append(attempt)
        if engine is not None:
            return Loading(
                engine=engine, plan=plan, attempts=tuple(attempts), seconds=time.perf_counter() - began
            )
        assert attempt.error is not None
        _log_failure(info, plan, attempt.error, runtime)
        if options.cancel is not None and options.cancel.cancelled:
            stopped = "loading was cancelled"
            break
        waiting = [later for later in waiting if _worth_trying(later, plan, attempt.error)]
    return Loading(
        engine=None,
        plan=attempts[-1].plan,
        attempts=tuple(attempts),
        seconds=time.perf_counter() - began,
        stopped=stopped,
    )


def _log_failure(info: ModelInfo, plan: LoadPlan, error: ModelplugError, runtime: Runtime) -> None:
    """Write the failure to the log file, where it is still found when the terminal has scrolled on."""
    from modelplug.logs import get_logger

    get_logger("load", paths=runtime.paths, quiet=True).warning(
        "an engine could not load a model",
        model=info.path.name,
        fingerprint=info.fingerprint,
        plan={"backend": plan.backend, "device": plan.device, "gpu_layers": plan.gpu_layers},
        **error.to_dict(),
    )


def _permission(options: LoadOptions, failed: Attempt, following: LoadPlan) -> str:
    """Why the next plan must not be tried; empty if it may."""
    if options.fallback == "never":
        return "fallback is switched off"
    if options.fallback == "ask":
        if options.on_fallback is None:
            return "fallback asks first, and there is nobody to ask"
        if not options.on_fallback(failed, following):
            return "going on with another plan was declined"
    return ""


def _worth_trying(later: LoadPlan, failed: LoadPlan, error: ModelplugError) -> bool:
    if later.backend != failed.backend:
        return True
    cause = error.cause if isinstance(error, BackendError) else "unsupported"
    if later.device == failed.device:
        return cause in _FEWER_LAYERS_MAY_HELP
    # From the GPU to the CPU of the same engine, unless the engine does not know the model at all.
    return cause not in {"unsupported", "start-failed", "cool-down"}


def _attempt(
    info: ModelInfo, plan: LoadPlan, plugin: str, options: LoadOptions, cooldown: Cooldown
) -> tuple[StartedEngine | None, Attempt]:
    began = time.perf_counter()
    try:
        _respect(cooldown, plan, info, options)
        request = _request(info, plan, options)
        engine = start_engine(request, plugin, isolation=options.isolation, cancel=options.cancel)
    except ModelplugError as error:
        if isinstance(error, WorkerCrashedError):
            cooldown.crashed(plan.backend, info.fingerprint)
        seconds = time.perf_counter() - began
        return None, Attempt(plan=plan, success=False, seconds=seconds, error=error)
    return engine, Attempt(plan=plan, success=True, seconds=time.perf_counter() - began)


def _respect(cooldown: Cooldown, plan: LoadPlan, info: ModelInfo, options: LoadOptions) -> None:
    pause = 0.0 if options.explicit_backend else cooldown.remaining(plan.backend, info.fingerprint)
    if pause > 0:
        raise BackendError(
            f"{plan.backend} is left alone for another {pause:.0f} s",
            backend=plan.backend,
            phase="start",
            cause="cool-down",
            why="its process has died several times on this model within the last hour",
            advice=f"Wait, or insist with --backend {plan.backend}.",
        )


def _request(info: ModelInfo, plan: LoadPlan, options: LoadOptions) -> LoadRequest:
    settings: dict[str, Any] = dict(plan.settings)
    return LoadRequest(
        backend=plan.backend,
        path=info.path,
        info=info,
        settings=settings,
        device=plan.device,
        gpu_layers=plan.gpu_layers,
        context_size=plan.context_size,
        threads=plan.threads,
        embeddings=options.embeddings,
        deadlines=options.deadlines,
    )
