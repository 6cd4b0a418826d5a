"""Remembers what runs took, so that the next choice rests on measurements, and shows what runs now."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import attrs

from modelplug.history.records import FailureRecord, RunRecord, now

if TYPE_CHECKING:
    from modelplug.backends.cooldown import Cooldown
    from modelplug.backends.model import Effective, GenerationStats
    from modelplug.backends.types import Attempt, LoadPlan, LoadResult
    from modelplug.errors import BackendError, ModelplugError
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import HistoryStore
    from modelplug.history.workers import Registration

__all__ = ["Forecast", "RunLog", "load_failures"]

BATCH = 32
MOST_WAITING = 1024
"""Records that wait for a locked history; older ones are given up."""


@attrs.frozen(kw_only=True)
class Forecast:
    """What was known before anything was measured, to learn from later.

    Attributes:
        machine: The processor, as `machine_name` spells it.
        speed: The tokens per second that were predicted; None if they rest on measurements, or nothing does.
        weight_bytes: Bytes of weights that the engine reads for each token.
        weight_count: The number of these weights.
        cache_bytes: Bytes of keys and values for each token of context.
    """

    machine: str = ""
    speed: float | None = None
    weight_bytes: float | None = None
    weight_count: float | None = None
    cache_bytes: float | None = None


class RunLog:
    """Collects the runs of one loaded model and writes them to the history in batches.

    Writing waits until the model is closed, or until some have come together: a database commit would
    delay the end of a request by milliseconds. What the requests say is never kept.

    Args:
        history: Where runs are kept; None keeps none, because the user does not want it.
        info: The model.
        plan: What was loaded.
        result: How loading went.
        cooldown: Told when the engine's process dies, and when a request has succeeded.
        forecast: What was known beforehand.
        registration: Shows other programs what the model does; None if they may not know.
        session: What all requests to this model have in common.
        purpose: What the runs are for, as `RunRecord.purpose` spells it.
    """

    def __init__(
        self,
        history: HistoryStore | None,
        info: ModelInfo,
        plan: LoadPlan,
        result: LoadResult,
        cooldown: Cooldown | None = None,
        *,
        forecast: Forecast | None = None,
        registration: Registration | None = None,
        session: str = "",
        purpose: str = "use",
    ) -> None:
        self._history = history
        self._info = info
        self._plan = plan
        self._result = result
        self._cooldown = cooldown
        self._forecast = forecast or Forecast()
        self._registration = registration
        self._session = session or uuid.uuid4().hex
        self._purpose = purpose
        self._lock = threading.Lock()
        self._proven = False
        self._runs: list[RunRecord] = []
        self._failures: list[FailureRecord] = []

    def began(self) -> None:
        """A request begins."""
        if self._registration is not None:
            self._registration.began()

    def gave(self) -> None:
        """A request has given a piece of text."""
        if self._registration is not None:
            self._registration.gave()

    def add(self, stats: GenerationStats, finish_reason: str = "") -> None:
        """Remember one finished request."""
        run = attrs.evolve(
            self._run(),
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            completion_tokens=stats.completion_tokens,
            prompt_seconds=stats.prompt_seconds,
            generate_seconds=stats.generate_seconds,
            first_token_seconds=stats.first_token_seconds,
            total_seconds=stats.total_seconds,
            finish_reason=finish_reason,
        )
        if self._registration is not None:
            self._registration.ended(
                prompt_tokens=stats.prompt_tokens,
                completion_tokens=stats.completion_tokens,
                speed=run.tokens_per_second,
                failed=False,
            )
        self._keep(run)
        # Loading alone proves little: an engine may load a model well and die of its first token.
        if not self._proven and self._cooldown is not None:
            self._proven = True
            self._cooldown.worked(self._plan.backend, self._info.fingerprint)

    def left(self, first: float | None, seconds: float) -> None:
        """Remember a request whose caller went away before its end: what it took is known only in part.

        Args:
            first: Seconds to the first token; None if there was none.
            seconds: Seconds until the caller went away.
        """
        if self._registration is not None:
            self._registration.ended(failed=False)
        run = self._run()
        self._keep(
            attrs.evolve(run, first_token_seconds=first, total_seconds=seconds, finish_reason="cancelled")
        )

    def failed(self, error: ModelplugError) -> None:
        """Remember that a request ended with an error: the engine's fault, or a refusal, which is no run."""
        from modelplug.errors import BackendError, CapabilityError, WorkerCrashedError

        at_fault = isinstance(error, BackendError) and error.is_fault
        if self._registration is not None:
            self._registration.ended(failed=at_fault)
        if not at_fault or isinstance(error, CapabilityError):
            return
        assert isinstance(error, BackendError)
        failure = _failure(self._effective, error, self._info.fingerprint, self._forecast.machine)
        failure = attrs.evolve(failure, session=self._session, error=_without_text(error))
        run = attrs.evolve(
            self._run(), prompt_tokens=0, completion_tokens=0, success=False, error=failure.error
        )
        self._keep(run, failure)
        if isinstance(error, WorkerCrashedError) and self._cooldown is not None:
            self._cooldown.crashed(self._plan.backend, self._info.fingerprint)

    def flush(self) -> None:
        """Write what waits; what a locked history does not take is tried again with what comes next."""
        with self._lock:
            runs, self._runs = self._runs, []
            failures, self._failures = self._failures, []
        if self._history is None or not (runs or failures):
            return
        if runs:
            self._history.saw(self._info)
        if not self._history.record_runs(runs, failures):
            with self._lock:
                self._runs = (runs + self._runs)[-MOST_WAITING:]
                self._failures = (failures + self._failures)[-MOST_WAITING:]

    def close(self) -> None:
        """The model is closed: write what waits, and no longer show it to other programs."""
        if self._registration is not None:
            self._registration.close()
        self.flush()

    @property
    def _effective(self) -> Effective:
        assert self._result.effective is not None
        return self._result.effective

    def _keep(self, run: RunRecord, failure: FailureRecord | None = None) -> None:
        with self._lock:
            self._runs.append(run)
            if failure is not None:
                self._failures.append(failure)
            full = len(self._runs) % BATCH == 0
        if full:
            self.flush()

    def _run(self) -> RunRecord:
        effective, forecast = self._effective, self._forecast
        return RunRecord(
            fingerprint=self._info.fingerprint,
            backend=effective.backend,
            engine_version=effective.engine_version,
            device=effective.device,
            gpu_layers=effective.gpu_layers or 0,
            context_size=effective.context_size,
            threads=effective.threads,
            batch_size=effective.batch_size,
            load_seconds=self._result.load_time,
            resident_bytes=self._result.resident_bytes,
            device_bytes=self._result.device_bytes,
            estimated_bytes=self._plan.needed,
            estimated_speed=forecast.speed,
            weight_bytes=forecast.weight_bytes,
            weight_count=forecast.weight_count,
            cache_bytes=forecast.cache_bytes,
            layers=self._info.layers,
            session=self._session,
            purpose=self._purpose,
            machine=forecast.machine,
        )


def load_failures(attempts: tuple[Attempt, ...], fingerprint: str, machine: str) -> list[FailureRecord]:
    """The records of the attempts to load a model that failed.

    Args:
        attempts: Every attempt.
        fingerprint: The model.
        machine: The processor.
    """
    from modelplug.backends.model import Effective
    from modelplug.errors import BackendError

    found = []
    for attempt in attempts:
        error = attempt.error
        if isinstance(error, BackendError) and error.is_fault:
            plan = attempt.plan
            wanted = Effective(
                backend=plan.backend,
                device=plan.device,
                gpu_layers=plan.gpu_layers,
                context_size=plan.context_size,
            )
            found.append(_failure(wanted, error, fingerprint, machine))
    return found


def _failure(where: Effective, error: BackendError, fingerprint: str, machine: str) -> FailureRecord:
    return FailureRecord(
        fingerprint=fingerprint,
        backend=where.backend,
        engine_version=where.engine_version,
        device=where.device,
        gpu_layers=where.gpu_layers or 0,
        context_size=where.context_size,
        phase=error.phase,
        cause=error.cause,
        error=str(error),
        advice=error.advice,
        machine=machine,
        time=now(),
    )


def _without_text(error: BackendError) -> str:
    """What happened, without what an engine's own exception says: that may quote the prompt."""
    if error.cause not in ("exception", "out-of-memory"):
        return str(error)
    kind = error.why.partition(":")[0]
    return f"{error.what}: {kind}" if kind.isidentifier() else error.what
