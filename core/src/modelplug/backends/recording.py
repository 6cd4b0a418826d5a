"""What loading leaves behind: failed attempts in the history, and a log for what the model will do."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from modelplug.backends.cooldown import Cooldown
from modelplug.backends.estimate import machine_of, weights_per_token
from modelplug.backends.load import COOLDOWN_FILE
from modelplug.backends.records import Forecast, RunLog, load_failures
from modelplug.formats.memory import memory_need

if TYPE_CHECKING:
    from modelplug.backends.load import Loading
    from modelplug.backends.types import LoadPlan, LoadResult, Recommendation
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history.workers import Registration
    from modelplug.runtime import Runtime

__all__ = ["record_loading"]


def record_loading(
    runtime: Runtime,
    info: ModelInfo,
    recommendation: Recommendation,
    loading: Loading,
    result: LoadResult,
    *,
    purpose: str,
) -> RunLog | None:
    """Record the attempts that failed, and begin the log of the model that was loaded.

    Where the settings forbid monitoring, nothing is recorded and the model is shown to nobody.

    Args:
        runtime: Its history takes the records.
        info: The model.
        recommendation: What was known of it beforehand.
        loading: What trying came to.
        result: The same for the caller.
        purpose: What the runs will be for, as `RunRecord.purpose` spells it.

    Returns:
        The log; None if nothing was loaded.
    """
    monitoring = runtime.config.settings.monitoring
    machine = machine_of(runtime)
    failures = load_failures(loading.attempts, info.fingerprint, machine)
    if monitoring and failures:
        runtime.history.record_runs([], failures)
    if loading.engine is None:
        return None
    session = uuid.uuid4().hex
    return RunLog(
        runtime.history if monitoring else None,
        info,
        loading.plan,
        result,
        Cooldown(runtime.paths.cache / COOLDOWN_FILE),
        forecast=_forecast(runtime, info, recommendation, loading.plan, machine),
        registration=_registered(runtime, info, loading, result, session) if monitoring else None,
        session=session,
        purpose=purpose,
    )


def _forecast(
    runtime: Runtime, info: ModelInfo, recommendation: Recommendation, plan: LoadPlan, machine: str
) -> Forecast:
    report = runtime.backends.reports()[plan.backend]
    candidate = next((c for c in recommendation.candidates if c.backend == plan.backend), None)
    estimate = candidate.estimate if candidate is not None and plan in candidate.plans[:1] else None
    weight_bytes, weight_count = weights_per_token(info, report)
    need = memory_need(info, context_size=plan.context_size)
    return Forecast(
        machine=machine,
        speed=estimate.tokens_per_second if estimate is not None and estimate.basis != "measured" else None,
        weight_bytes=weight_bytes,
        weight_count=weight_count,
        cache_bytes=need.kv / plan.context_size,
    )


def _registered(
    runtime: Runtime, info: ModelInfo, loading: Loading, result: LoadResult, session: str
) -> Registration:
    import os

    from modelplug.history.processes import started_at
    from modelplug.history.workers import Registration, RunningModel
    from modelplug.logs import get_logger

    engine, effective = loading.engine, result.effective
    assert engine is not None
    assert effective is not None
    model = RunningModel(
        pid=engine.pid,
        started=started_at(engine.pid),
        host_pid=os.getpid(),
        guard_pid=engine.guard_pid,
        model=str(info.path),
        fingerprint=info.fingerprint,
        backend=effective.backend,
        engine_version=effective.engine_version,
        device=effective.device,
        gpu_layers=effective.gpu_layers,
        context_size=effective.context_size,
        threads=effective.threads,
        session=session,
    )
    return Registration(runtime.paths.workers, model, get_logger("monitor", paths=runtime.paths, quiet=True))
