"""The convenience functions of the public API: inspect, recommend, load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.arguments import AnyMessage, checked_params
from modelplug.backends.load import Loading, LoadOptions, load_first
from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import CancelToken, Chunk, GenerateParams
from modelplug.backends.recording import record_loading
from modelplug.backends.types import Attempt, Deadlines, LoadPlan, LoadResult
from modelplug.backends.wishes import Wishes
from modelplug.errors import BackendError, ModelplugError, UsageError

if TYPE_CHECKING:
    from modelplug.backends.async_model import AsyncModel
    from modelplug.backends.types import Recommendation
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["GGUFModel", "default_params", "inspect", "load", "load_async", "recommend", "try_load"]

FALLBACKS = ("never", "ask", "auto")
ISOLATIONS = ("process", "inline")


def inspect(model: str | os.PathLike[str], *, runtime: Runtime | None = None) -> ModelInfo:
    """What a model is, from its files alone, with the backends that can run it.

    Args:
        model: A path, `demo`, or a registered name.
        runtime: Plugins and settings to use; None makes a runtime for this call.

    Raises:
        ModelFileError: There is no such model, or it can't be used; says what is wrong at which offset.
    """
    from modelplug.backends.inspection import ModelInspector

    return ModelInspector(runtime).inspect_model(os.fspath(model))


def recommend(
    model: str | os.PathLike[str] | None = None, *, runtime: Runtime | None = None, **wishes: Any
) -> Recommendation:
    """Which backend should run a model here, with what settings, how fast, and why.

    Args:
        model: A path, `demo`, or a registered name; None asks for the best backend in general.
        runtime: Plugins and settings to use; None makes a runtime for this call.
        wishes: `backend`, `gpu_layers`, `context_size`, `threads`, `batch_size`, `settings`.
    """
    from modelplug.backends.select import BackendSelector

    path = None if model is None else os.fspath(model)
    return BackendSelector(runtime).get_recommendation(path, **wishes)


def load(
    model: str | os.PathLike[str],
    *,
    backend: str | None = None,
    isolation: str | None = None,
    fallback: str | None = None,
    timeout: float | None = None,
    deadlines: Deadlines | None = None,
    embeddings: bool = False,
    params: GenerateParams | None = None,
    force: bool = False,
    runtime: Runtime | None = None,
    on_attempt: Callable[[LoadPlan], None] | None = None,
    on_fallback: Callable[[Attempt, LoadPlan], bool] | None = None,
    cancel: CancelToken | None = None,
    purpose: str = "use",
    **settings: Any,
) -> LoadedModel:
    """A loaded model, run by the engine that suits it best here.

    Args:
        model: A path, `demo`, or a registered name.
        backend: The backend to use; None chooses.
        isolation: `process` runs the engine in a worker process whose death the caller survives, `inline` in
            the caller's own. None takes the settings' value, which is `process` unless changed.
        fallback: What to do when an attempt fails: `auto` goes on with the next plan, `ask` asks
            `on_fallback` first, `never` gives up. None takes the settings' value.
        timeout: Seconds for loading, and for the first token of each request; shorthand for `deadlines`.
        deadlines: The deadline of every phase.
        embeddings: Whether to load the model for `embed`.
        params: Parameters for requests that come without any.
        force: Whether to try even what does not fit into memory by estimate.
        runtime: Plugins and settings to use; None makes a runtime for this call.
        on_attempt: Told of each plan before it is tried.
        on_fallback: With `ask`, decides after a failed attempt whether the next plan is tried.
        cancel: Stops loading when set (with `process`).
        purpose: What the runs are for, which the history keeps: `use`, or `benchmark` for measurements that
            say nothing of how the model is used.
        settings: Settings for this model: `gpu_layers`, `context_size`, `threads`, `batch_size`, and the
            backend's own by the names its plugin gives them.

    Returns:
        The model, with a `load_result` that says what was requested and what is in force. Close it, or use
        it in a `with` statement.

    Raises:
        ModelFileError: The file can't be used.
        NothingSuitableError: No installed backend can run it.
        DoesNotFitError: It needs more memory than there is.
        BackendError: Every attempt failed; this is the first attempt's error, with all of them in its
            `data["attempts"]`.
    """
    options = {
        "isolation": isolation,
        "fallback": fallback,
        "timeout": timeout,
        "deadlines": deadlines,
        "embeddings": embeddings,
        "on_attempt": on_attempt,
        "on_fallback": on_fallback,
        "cancel": cancel,
        "purpose": purpose,
    }
    result, error = _load(model, backend, options, params, force, runtime, settings)
    if error is not None:
        raise error
    assert isinstance(result.model, LoadedModel)
    return result.model


def try_load(model: str | os.PathLike[str], **arguments: Any) -> LoadResult:
    """How loading went, as a record; takes what `load` takes, raises nothing a model or engine causes.

    Raises:
        UsageError: The call itself is wrong.
    """
    names = (
        "isolation",
        "fallback",
        "timeout",
        "deadlines",
        "embeddings",
        "on_attempt",
        "on_fallback",
        "cancel",
        "purpose",
    )
    options = {name: arguments.pop(name, None) for name in names}
    options["embeddings"] = bool(options["embeddings"])
    backend, params = arguments.pop("backend", None), arguments.pop("params", None)
    force, runtime = arguments.pop("force", False), arguments.pop("runtime", None)
    try:
        return _load(model, backend, options, params, force, runtime, arguments)[0]
    except UsageError:
        raise
    except ModelplugError as error:
        return LoadResult(success=False, backend=backend or "", error=str(error), suggestion=error.advice)


async def load_async(model: str | os.PathLike[str], **arguments: Any) -> AsyncModel:
    """The same as `load` without blocking the event loop; cancelling the task stops the engine."""
    from modelplug.backends.async_model import AsyncModel

    cancel = arguments.setdefault("cancel", CancelToken())
    loading = asyncio.get_running_loop().run_in_executor(None, lambda: load(model, **arguments))
    try:
        return AsyncModel(await asyncio.shield(loading))
    except asyncio.CancelledError:
        cancel.cancel()
        loading.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(loading: asyncio.Future[LoadedModel]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _load(
    model: str | os.PathLike[str],
    backend: str | None,
    options: dict[str, Any],
    params: GenerateParams | None,
    force: bool,
    runtime: Runtime | None,
    settings: dict[str, Any],
) -> tuple[LoadResult, ModelplugError | None]:
    from modelplug.backends.inspection import inspected
    from modelplug.backends.select import BackendSelector

    given: object = model
    if not isinstance(given, (str, os.PathLike)):
        raise UsageError(
            f"a model can't be {given!r}",
            why="it is named by a path or a name, which are text",
            advice='For example: modelplug.load("demo").',
        )
    if runtime is None:
        from modelplug.runtime import Runtime as NewRuntime

        runtime = NewRuntime()
    load_options = _options(options, backend, runtime)
    defaults = checked_params(params) or default_params(runtime)
    wishes = Wishes.of(settings=settings, backend=backend, force=force, embeddings=load_options.embeddings)
    info = inspected(os.fspath(model), runtime)
    recommendation = BackendSelector(runtime).select(info, wishes)
    loading = load_first(info, recommendation.plans, runtime.backends.reports(), load_options, runtime)
    requested = {**({"backend": backend} if backend else {}), **wishes.explicit}
    result = _result(loading, requested)
    log = record_loading(runtime, info, recommendation, loading, result, purpose=load_options.purpose)
    if loading.engine is None:
        return result, _final_error(loading)
    loaded = LoadedModel(loading.engine.model, log=log, defaults=defaults)
    result = attrs.evolve(result, model=loaded)
    loaded.load_result = result
    loaded.effective = result.effective or loaded.effective
    return result, None


def _options(given: dict[str, Any], backend: str | None, runtime: Runtime) -> LoadOptions:
    settings = runtime.config.settings
    fallback = given["fallback"] or settings.fallback
    if fallback not in FALLBACKS:
        raise UsageError(
            f"there is no fallback policy {fallback!r}",
            why="what happens after a failed attempt is one of three things",
            advice=f"Use one of {', '.join(FALLBACKS)}.",
        )
    isolation = given["isolation"] or settings.isolation
    if isolation not in ISOLATIONS:
        raise UsageError(
            f"there is no isolation {isolation!r}",
            why="an engine runs in a process of its own or inside the caller's",
            advice=f"Use one of {', '.join(ISOLATIONS)}.",
        )
    timeout = given["timeout"]
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise UsageError(
            f"the timeout {timeout!r} is not a number of seconds above 0",
            why="loading and the first token each get that many seconds",
            advice="Give a number such as timeout=60, or leave it out for the deadlines of the settings.",
        )
    deadlines = given["deadlines"] or Deadlines(**attrs.asdict(settings.deadlines))
    if timeout is not None:
        deadlines = attrs.evolve(deadlines, load=timeout, first_token=timeout)
    return LoadOptions(
        isolation=isolation,
        fallback=fallback,
        deadlines=deadlines,
        embeddings=given["embeddings"],
        on_attempt=given["on_attempt"],
        on_fallback=given["on_fallback"],
        cancel=given["cancel"],
        purpose=given["purpose"] or "use",
        explicit_backend=backend is not None,
    )


def default_params(runtime: Runtime, **given: Any) -> GenerateParams:
    """The parameters that the settings' `generation` section asks for, with the given ones on top.

    Raises:
        ValueError: One is out of range.
    """
    return GenerateParams(**{**runtime.config.settings.generation.given(), **given})


def _result(loading: Loading, requested: dict[str, Any]) -> LoadResult:
    if loading.engine is None:
        error = loading.error
        assert error is not None
        return LoadResult(
            success=False,
            backend=loading.plan.backend,
            device=loading.plan.device,
            load_time=loading.seconds,
            attempts=loading.attempts,
            requested=requested,
            error=str(error) + (f" ({loading.stopped})" if loading.stopped else ""),
            suggestion=error.advice,
        )
    engine = loading.engine
    notes = (*_differences(loading, requested), *engine.model.effective.notes)
    effective = attrs.evolve(engine.model.effective, notes=notes)
    total = engine.resident_bytes + (engine.device_bytes or 0)
    return LoadResult(
        success=True,
        backend=effective.backend,
        device=effective.device,
        load_time=loading.seconds,
        memory_usage=round(total / 1e6, 1),
        memory_bytes=total,
        resident_bytes=engine.resident_bytes,
        device_bytes=engine.device_bytes,
        attempts=loading.attempts,
        requested=requested,
        effective=effective,
    )


def _differences(loading: Loading, requested: dict[str, Any]) -> Iterator[str]:
    """Sentences on how the outcome differs from what was wanted."""
    failed = [attempt for attempt in loading.attempts if not attempt.success]
    for attempt in failed:
        yield f"{_described(attempt.plan)} was tried first and failed: {attempt.error}."
    if failed:
        yield f"The model runs on {_described(loading.plan)} instead."
    assert loading.engine is not None
    effective = loading.engine.model.effective
    for name in ("gpu_layers", "context_size", "threads"):
        wanted, got = requested.get(name), getattr(effective, name)
        everything = name == "gpu_layers" and wanted == -1 and bool(got)
        if wanted is not None and got is not None and wanted != got and not everything:
            yield f"{name}={wanted} was asked for; {got} is in force."


def _described(plan: LoadPlan) -> str:
    if plan.device == "cpu":
        return f"{plan.backend} on the CPU"
    layers = "all layers" if plan.gpu_layers < 0 else f"{plan.gpu_layers} layers"
    return f"{plan.backend} with {layers} on {plan.device}"


def _final_error(loading: Loading) -> ModelplugError:
    error = loading.error
    assert error is not None
    error.data["attempts"] = [
        {"backend": a.plan.backend, "device": a.plan.device, "seconds": a.seconds, "error": str(a.error)}
        for a in loading.attempts
    ]
    others = [f"{_described(a.plan)}: {a.error}" for a in loading.attempts if a.error is not error]
    remarks = [*(f"then {other}" for other in others), *([loading.stopped] if loading.stopped else [])]
    if remarks:
        error.why = "; ".join([error.why, *remarks] if error.why else remarks)
    return error


class GGUFModel:
    """A model by its path, as the migration guide has it: load it, look at the result, use it.

    Args:
        runtime: Plugins and settings to use; None makes a runtime when first needed.

    Attributes:
        model: The loaded model; None before `load` has succeeded.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime
        self.model: LoadedModel | None = None

    def load(self, path: str | Path, **settings: Any) -> LoadResult:
        """Load with the backend that suits best, after releasing what was loaded before.

        Args:
            path: A path, `demo`, or a registered name.
            settings: What `modelplug.load` takes.

        Returns:
            How it went; look at `.success` first.
        """
        self.close()
        result = try_load(path, runtime=self._runtime, **settings)
        self.model = result.model if isinstance(result.model, LoadedModel) else None
        return result

    def load_with_backend(self, path: str | Path, backend: str, **settings: Any) -> LoadResult:
        """Load with one backend.

        Raises:
            ModelplugError: It could not be loaded.
        """
        self.close()
        self.model = load(path, backend=backend, runtime=self._runtime, **settings)
        return self.model.load_result

    def generate(self, prompt: str, params: GenerateParams | None = None) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        return self._loaded().generate(prompt, params)

    def chat(self, messages: Sequence[AnyMessage], params: GenerateParams | None = None) -> Iterator[Chunk]:
        """Stream the assistant's next turn."""
        return self._loaded().chat(messages, params)

    def close(self) -> None:
        """Release the model; calling it again changes nothing."""
        model, self.model = self.model, None
        if model is not None:
            model.close()

    def __enter__(self) -> GGUFModel:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _loaded(self) -> LoadedModel:
        if self.model is None:
            raise BackendError(
                "no model is loaded",
                backend="",
                phase="generate",
                cause="closed",
                why="load was not called, has failed, or the model was closed since",
                advice="Call load(path) first, and look at the .success of what it returns.",
            )
        return self.model
