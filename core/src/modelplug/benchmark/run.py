"""Runs a benchmark: every candidate in turn, round after round, until the rounds or the time are used up."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.accelerators import AcceleratorWatch
from modelplug.benchmark.collecting import Collected, Instruments, MeasuringStoppedError
from modelplug.benchmark.energy import EnergyMeter
from modelplug.benchmark.environment import observe, with_load_after
from modelplug.benchmark.metrics import draw_metrics
from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Protocol
from modelplug.benchmark.session import measure_round
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelplug.backends.model import CancelToken
    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.workload import Benchmark
    from modelplug.runtime import Runtime

__all__ = ["QUICK_ROUNDS", "ROUNDS", "BenchmarkRun", "Plan", "Progress"]

ROUNDS, QUICK_ROUNDS = 10, 7
BUDGET_SECONDS, QUICK_BUDGET_SECONDS = 180.0, 30.0
"""For each candidate."""

LEAST_REQUEST_SECONDS = 60.0
_FIRST_READING_SECONDS = 3.0


@attrs.frozen(kw_only=True)
class Plan:
    """How much is to be measured.

    Attributes:
        workloads: What to measure.
        rounds: How many times each candidate is loaded and measured; None takes 10, or 7 if quick.
        budget: Seconds for each candidate, after which no new round begins; None takes 180, or 30 if quick.
        deadline: Seconds for loading and for the first token of each request; None takes the settings' own.
        quick: Whether this is a quick benchmark.
    """

    workloads: tuple[Benchmark, ...]
    rounds: int | None = None
    budget: float | None = None
    deadline: float | None = None
    quick: bool = False

    @property
    def planned_rounds(self) -> int:
        """The number of rounds."""
        return self.rounds or (QUICK_ROUNDS if self.quick else ROUNDS)

    @property
    def seconds(self) -> float:
        """The budget for each candidate."""
        return self.budget or (QUICK_BUDGET_SECONDS if self.quick else BUDGET_SECONDS)


@attrs.frozen(kw_only=True)
class Progress:
    """Where a benchmark is.

    Attributes:
        label: The candidate that is being measured.
        round: Its round, from 0.
        rounds: How many there will be.
        step: What is being measured of it: `loading`, or a workload's name.
        done: The part of the whole that is done, from 0 to 1.
    """

    label: str
    round: int
    rounds: int
    step: str
    done: float


class BenchmarkRun:
    """One benchmark, from its beginning to its report.

    Candidates take turns, A B A B, and each turn loads the model anew in a process of its own: what changes
    on the machine meanwhile touches all of them alike, and only one engine is alive at a time. An engine
    that fails is out; what it had measured stays.

    Args:
        candidates: What to measure.
        plan: How much.
        runtime: Plugins, settings and history.
        on_progress: Told of every step.
        on_round: Given the report so far after every round, to keep it.
        stop: Ends the benchmark at once when set, in the middle of a round; what was measured stays. With it
            rounds begin whatever the budget says.
    """

    def __init__(
        self,
        candidates: Sequence[BenchmarkCandidate],
        plan: Plan,
        runtime: Runtime,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_round: Callable[[BenchmarkReport], None] | None = None,
        stop: CancelToken | None = None,
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._on_progress = on_progress
        self._on_round = on_round
        self._stop = stop
        self._collected = [
            Collected(candidate=candidate, error=candidate.problem) for candidate in candidates
        ]
        self._interrupted = False
        self._created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._began = time.perf_counter()
        self._seconds = 0.0
        self._position = (0, 0)
        from modelplug.system import Host

        host = Host.current()
        reports = [c.report for c in candidates if c.report is not None]
        self._environment = observe(runtime.system, reports, host)
        self._energy = EnergyMeter(host)
        self._host = host

    def run(self) -> BenchmarkReport:
        """Measure until done.

        Raises:
            KeyboardInterrupt: The user ended it; `report` has everything until then, and says so.
        """
        watch = self._watch_accelerators()
        longest = max(LEAST_REQUEST_SECONDS, self._plan.seconds)
        instruments = Instruments(
            runtime=self._runtime,
            accelerators=watch,
            energy=self._energy,
            began=self._began,
            deadline=self._plan.deadline,
            longest_request=longest,
            on_step=self._tell,
            stop=self._stop,
        )
        try:
            self._measure(instruments)
        except MeasuringStoppedError:
            # What was measured until then is the result.
            pass
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        finally:
            if watch is not None:
                watch.close()
            self._seconds = time.perf_counter() - self._began
            self._environment = with_load_after(self._environment)
        return self.report

    def _measure(self, instruments: Instruments) -> None:
        for number in range(self._plan.planned_rounds):
            alive = [collected for collected in self._collected if collected.error is None]
            if not alive or (number and not self._another_round_fits(number, len(alive))):
                break
            for place, collected in enumerate(alive):
                self._position = (number, self._collected.index(collected))
                try:
                    measure_round(collected, number, self._plan.workloads, instruments)
                except ModelplugError as error:
                    collected.error = error
                if place == len(alive) - 1 and self._on_round is not None:
                    self._on_round(self.report)

    def _another_round_fits(self, number: int, count: int) -> bool:
        if self._stop is not None:
            # A round that is cut short by it is worth something too.
            return not self._stop.cancelled
        spent = time.perf_counter() - self._began
        return spent + spent / number <= self._plan.seconds * count

    def _watch_accelerators(self) -> AcceleratorWatch | None:
        devices = self._runtime.system.visible_devices
        if not devices:
            return None
        watch = AcceleratorWatch(devices, self._host)
        # What was used before the first load must be known, to tell what the load has added.
        deadline = time.monotonic() + _FIRST_READING_SECONDS
        for device in devices:
            watch.memory_used(device.id, patience=deadline - time.monotonic())
        return watch

    def _tell(self, step: str) -> None:
        if self._on_progress is None:
            return
        number, place = self._position
        rounds, count = self._plan.planned_rounds, len(self._collected)
        spent = time.perf_counter() - self._began
        by_rounds = (number * count + place) / (rounds * count)
        by_time = spent / (self._plan.seconds * count)
        self._on_progress(
            Progress(
                label=self._collected[place].candidate.label,
                round=number,
                rounds=rounds,
                step=step,
                done=min(1.0, max(by_rounds, by_time)),
            )
        )

    @property
    def failure(self) -> ModelplugError | None:
        """The error to end with if nothing at all could be measured; None if something was."""
        if any(collected.requests for collected in self._collected):
            return None
        errors = [collected.error for collected in self._collected if collected.error is not None]
        if errors:
            return errors[0]
        skipped = next((c.skipped for c in self._collected if c.skipped), {})
        return ModelplugError(
            "nothing was measured",
            why="; ".join(f"{name}: {why}" for name, why in skipped.items()) or "no round was finished",
            advice="Choose smaller workloads with --workload, or a larger --context-size.",
        )

    @property
    def report(self) -> BenchmarkReport:
        """Everything measured so far."""
        return BenchmarkReport(
            created=self._created,
            seconds=self._seconds or time.perf_counter() - self._began,
            interrupted=self._interrupted,
            protocol=Protocol(
                rounds=self._plan.planned_rounds,
                budget=self._plan.seconds,
                quick=self._plan.quick,
                deadline=self._plan.deadline,
                workloads=tuple(_workload_to_dict(workload) for workload in self._plan.workloads),
                energy=self._energy.sources,
            ),
            environment=self._environment,
            candidates=tuple(self._result(collected) for collected in self._collected),
        )

    def _result(self, collected: Collected) -> CandidateResult:
        candidate, report = collected.candidate, collected.candidate.report
        detected = report.version if report else ""
        metrics = draw_metrics(self._plan.workloads, collected.requests, collected.rounds, self._environment)
        estimate = None
        if candidate.estimate is not None:
            estimate = attrs.asdict(candidate.estimate)
        return CandidateResult(
            label=candidate.label,
            model=candidate.model,
            backend=candidate.backend,
            engine=report.engine if report else "",
            engine_version=str(collected.effective.get("engine_version") or detected),
            distribution=report.distribution if report else "",
            requested=dict(candidate.settings),
            effective=dict(collected.effective),
            notes=(*collected.notes, *self._shortfall(collected)),
            status=self._status(collected),
            error=None if collected.error is None else collected.error.to_dict(),
            skipped=dict(collected.skipped),
            first_load_seconds=collected.rounds[0].load_seconds if collected.rounds else None,
            estimate=estimate,
            rounds=tuple(collected.rounds),
            requests=tuple(collected.requests),
            metrics=metrics,
        )

    def _status(self, collected: Collected) -> str:
        if collected.error is not None:
            return "failed"
        done = len(collected.rounds) >= self._plan.planned_rounds and not self._interrupted
        return "measured" if done else "partial"

    def _shortfall(self, collected: Collected) -> tuple[str, ...]:
        count, planned = len(collected.rounds), self._plan.planned_rounds
        if collected.error is not None or count >= planned or self._interrupted or not self._seconds:
            return ()
        return (f"The {self._plan.seconds:g} s for each candidate allowed {count} of {planned} rounds.",)


def _workload_to_dict(workload: Benchmark) -> dict[str, object]:
    plain = attrs.asdict(workload)
    del plain["description"]
    if not workload.text:
        del plain["text"]
    return plain
