"""Tests one model with one engine: loads it, asks it, checks what it said, within a time limit."""

from __future__ import annotations

import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.model import CancelToken
from modelplug.benchmark.answers import Answers, ask_all
from modelplug.benchmark.sanity import CHECKS, FAILED, check_sanity, oddities
from modelplug.benchmark.tested import ModelTestResult
from modelplug.errors import BackendError, ModelplugError, WorkerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.process import WorkerProcess
    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.sanity import Check
    from modelplug.runtime import Runtime

__all__ = ["Subject", "examine", "failed_result"]

_CAUSES = {"finite": "not-finite", "non-empty": "empty-output", "deterministic": "not-deterministic"}
_WHAT = {
    "finite": "the model computes no numbers",
    "non-empty": "the model says nothing",
    "deterministic": "the engine does not repeat itself",
}


@attrs.frozen(kw_only=True)
class Subject:
    """What is to be tested.

    Attributes:
        name: What the model is called.
        path: Where it lies; what was typed, where nothing does.
        label: Model and engine, as tables call them.
        candidate: The model with its engine; None if there is no such model.
        problem: Why it can't be tested; None if it can.
        alone: Whether the model is tested with this engine only.
    """

    name: str
    path: str
    label: str
    candidate: BenchmarkCandidate | None = None
    problem: ModelplugError | None = None
    alone: bool = True

    @property
    def backend(self) -> str:
        """The engine; empty if none suits."""
        return self.candidate.backend if self.candidate is not None else ""

    @property
    def way_out(self) -> str:
        """What else to try with the model; empty if everything was."""
        if self.candidate is None or not self.alone:
            return ""
        name = shlex.quote(self.name)
        return f"`modelplug test {name} --all-backends` shows whether another engine can run it."


class TimeLimit:
    """Ends an engine when its time is up.

    Args:
        seconds: How long it has.

    Attributes:
        token: Is set when the time is up.
    """

    def __init__(self, seconds: float) -> None:
        self.token = CancelToken()
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self.token.cancel)
        self._timer.daemon = True

    @property
    def exceeded(self) -> bool:
        """Whether the time was up before the end."""
        return self.token.cancelled

    def __enter__(self) -> TimeLimit:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()


def examine(
    subject: Subject, runtime: Runtime, *, tokens: int, deadline: float, on_step: Callable[[str], None]
) -> ModelTestResult:
    """Test one model with one engine; whatever the engine does is in the result.

    Args:
        subject: What to test.
        runtime: Plugins, settings and history.
        tokens: Tokens of each answer.
        deadline: Seconds for everything.
        on_step: Told of every step.

    Raises:
        KeyboardInterrupt: The user has had enough.
    """
    candidate = subject.candidate
    if candidate is None or subject.problem is not None:
        assert subject.problem is not None
        return failed_result(subject, subject.problem)
    examination = _Examination(subject, candidate, runtime)
    began = time.perf_counter()
    try:
        with TimeLimit(deadline) as limit:
            try:
                examination.run(limit, tokens, on_step)
            except ModelplugError as error:
                if not limit.exceeded:
                    raise
                raise _too_late(candidate.backend, deadline, error) from error
    except ModelplugError as error:
        examination.error = error
    return examination.result(time.perf_counter() - began)


def failed_result(subject: Subject, error: ModelplugError, **known: Any) -> ModelTestResult:
    """The result of something that failed.

    Args:
        subject: What was to be tested.
        error: Why it failed.
        known: What else is known, by the attributes of the result.
    """
    candidate = subject.candidate
    facts = {**({} if candidate is None else _content(candidate)), **known}
    return ModelTestResult(
        success=False,
        backend=subject.backend,
        error=str(error),
        suggestion=error.advice or subject.way_out or "`modelplug doctor` examines this installation.",
        failure=error,
        model=subject.name,
        path=subject.path,
        label=subject.label,
        **facts,
    )


def _content(candidate: BenchmarkCandidate) -> dict[str, Any]:
    return {"fingerprint": candidate.info.fingerprint, "files": candidate.info.files}


def _too_late(backend: str, deadline: float, error: ModelplugError) -> WorkerTimeoutError:
    phase = error.phase if isinstance(error, BackendError) else "generate"
    return WorkerTimeoutError(
        f"{backend} was not done with the test within {deadline:g} s and was stopped",
        seconds=deadline,
        backend=backend,
        phase=phase,
        why="it was still loading" if phase in ("start", "load") else "it was still generating",
        advice="Allow more time with --timeout SECONDS, or ask for fewer tokens with --tokens.",
    )


class _Examination:
    """One test under way, and what it has found so far."""

    def __init__(self, subject: Subject, candidate: BenchmarkCandidate, runtime: Runtime) -> None:
        self._subject = subject
        self._candidate = candidate
        self._runtime = runtime
        self._answers = Answers()
        self._known: dict[str, Any] = {}
        self._remarks: tuple[str, ...] = ()
        self.error: ModelplugError | None = None

    def run(self, limit: TimeLimit, tokens: int, on_step: Callable[[str], None]) -> None:
        """Load, ask, and close again."""
        from modelplug.backends.api import load

        candidate = self._candidate
        never = self._runtime.config.settings.fallback == "never"
        on_step("loading")
        with load(
            candidate.info.path,
            backend=candidate.backend,
            isolation="process",
            # To another device of the same engine only, and then the notes say so.
            fallback="never" if never else "auto",
            force=candidate.force,
            runtime=self._runtime,
            cancel=limit.token,
            purpose="test",
            **candidate.settings,
        ) as model:
            self._note(model)
            worker: WorkerProcess = model.engine.process  # type: ignore[attr-defined]
            limit.token.on_cancel(worker.kill)
            ask_all(model, self._answers, tokens, on_step)

    def _note(self, model: LoadedModel) -> None:
        loaded, effective = model.load_result, model.effective
        self._remarks = effective.notes
        self._known |= {
            "engine_version": effective.engine_version,
            "device": effective.device,
            "load_seconds": loaded.load_time,
            "memory_bytes": loaded.memory_bytes,
        }

    def result(self, seconds: float) -> ModelTestResult:
        """What came of it; a failure is recorded, unless the engine's own was recorded already."""
        answers = self._answers
        checks = check_sanity(answers, self.error)
        known = {
            **self._known,
            "tokens_per_second": answers.tokens_per_second,
            "seconds": seconds,
            "checks": checks,
            "remarks": (*self._remarks, *oddities(answers.greedy)),
            "answers": tuple(answers.with_alternatives()),
        }
        error = self.error or self._insane(checks)
        if error is None:
            subject, candidate = self._subject, self._candidate
            return ModelTestResult(
                success=True,
                backend=candidate.backend,
                model=subject.name,
                path=subject.path,
                label=subject.label,
                **_content(candidate),
                **known,
            )
        if self.error is None or isinstance(error, WorkerTimeoutError):
            self._record(error, seconds)
        return failed_result(self._subject, error, **known)

    def _insane(self, checks: Sequence[Check]) -> BackendError | None:
        """The error for the first check that failed."""
        by_name = {check.name: check for check in checks if check.outcome == FAILED}
        name = next((name for name in CHECKS if name in by_name), None)
        if name is None:
            return None
        detail = by_name[name].detail
        return BackendError(
            _WHAT[name],
            backend=self._candidate.backend,
            phase="generate",
            cause=_CAUSES[name],
            why=f"{detail[:1].lower()}{detail[1:].rstrip('.')}",
            advice=self._advice(name),
        )

    def _advice(self, name: str) -> str:
        advice = "Fetch or convert the model again: its weights may be damaged."
        if name == "non-empty":
            chat = f"modelplug chat {shlex.quote(self._subject.name)}"
            advice = f"Try `{chat}`: some models answer in a conversation only."
        if name == "deterministic":
            report = self._candidate.report
            author = f" ({report.distribution})" if report is not None and report.distribution else ""
            advice = f"Do not rely on --seed here, and report it to the author of the plugin{author}."
        return f"{advice} {self._subject.way_out}".rstrip()

    def _record(self, error: ModelplugError, seconds: float) -> None:
        """Keep the failure in the history, as the engine's own failures are kept while it runs."""
        from modelplug.backends.estimate import machine_of
        from modelplug.backends.records import load_failures
        from modelplug.backends.types import Attempt, LoadPlan

        if not self._runtime.config.settings.monitoring:
            return
        plan = LoadPlan(backend=self._candidate.backend, device=self._known.get("device") or "cpu")
        attempt = Attempt(plan=plan, success=False, seconds=seconds, error=error)
        fingerprint = self._candidate.info.fingerprint
        failures = load_failures((attempt,), fingerprint, machine_of(self._runtime))
        self._runtime.history.record_runs([], failures)
