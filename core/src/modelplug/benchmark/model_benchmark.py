"""`ModelBenchmark`: measures models, as the migration guide and `modelplug bench` have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.candidates import choose_candidates
from modelplug.benchmark.run import BenchmarkRun, Plan
from modelplug.benchmark.workload import QUICK, STANDARD, Benchmark, choose_workloads
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modelplug.backends.model import CancelToken
    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.records import BenchmarkReport, CandidateResult
    from modelplug.benchmark.run import Progress
    from modelplug.runtime import Runtime

__all__ = ["ModelBenchmark"]


class ModelBenchmark:
    """Measures how fast models load and run here, and how much memory they take.

    Args:
        runtime: Plugins, settings and history; None makes a runtime of its own.
        on_progress: Told of every step.
        on_round: Given the report so far after every round of all candidates, to keep it.

    Attributes:
        report: What the latest measurement found, also where Ctrl-C ended it; None before the first.
        failure: The error to end with if it could measure nothing at all; None if it could.
        number: The number of the latest measurement in the history; None if it is not there, because nothing
            was measured, the settings forbid `monitoring`, or the history can't be used.
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_round: Callable[[BenchmarkReport], None] | None = None,
    ) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._on_progress = on_progress
        self._on_round = on_round
        self.report: BenchmarkReport | None = None
        self.failure: ModelplugError | None = None
        self.number: int | None = None

    def run_comprehensive_test(self, model: str | None = None, **options: Any) -> dict[str, Any]:
        """A baseline to compare with later, as data that `json.dump` writes.

        Args:
            model: A path, `demo`, or a registered name; None takes the settings' `model_path`, else `demo`.
            options: What `run` takes.

        Raises:
            ModelplugError: The model can't be used, or no backend could run it.
        """
        report = self.run([model or self._usual_model()], **options)
        if self.failure is not None:
            raise self.failure
        return report.to_dict()

    def _usual_model(self) -> str:
        from modelplug.data import DEMO

        configured = self._runtime.config.settings.model_path
        return str(configured) if configured else DEMO

    def run(
        self,
        models: Sequence[str],
        *,
        backends: Sequence[str] = (),
        workloads: Sequence[str | Benchmark] = (),
        quick: bool = False,
        rounds: int | None = None,
        budget: float | None = None,
        deadline: float | None = None,
        force: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> BenchmarkReport:
        """Measure models with backends, turn by turn.

        Args:
            models: Paths, bundled or registered names.
            backends: Names, or `all` for every backend that suits; none takes what selection picks.
            workloads: Names of workloads, or workloads; none takes the standard ones.
            quick: Whether to measure less: two workloads and seven rounds.
            rounds: How many times each candidate is loaded and measured.
            budget: Seconds for each candidate, after which no new round begins.
            deadline: Seconds for loading and for the first token of each request.
            force: Whether to try even what does not fit into memory by estimate.
            settings: Settings for all of them: `gpu_layers`, `context_size`, `threads`, `batch_size`, and a
                backend's own.

        Returns:
            The report; an engine that failed is a candidate whose `status` and `error` say so.

        Raises:
            ModelFileError: A model can't be used.
            UsageError: A backend or workload is unknown, or a setting makes no sense.
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        names = [workload for workload in workloads if isinstance(workload, str)]
        own = tuple(workload for workload in workloads if isinstance(workload, Benchmark))
        chosen = choose_workloads(names, self._runtime.plugins, quick=quick) if names or not own else ()
        plan = Plan(workloads=(*chosen, *own), rounds=rounds, budget=budget, deadline=deadline, quick=quick)
        candidates = choose_candidates(models, backends, settings or {}, self._runtime, force=force)
        return self.measure(candidates, plan)

    def measure(
        self, candidates: Sequence[BenchmarkCandidate], plan: Plan, *, stop: CancelToken | None = None
    ) -> BenchmarkReport:
        """Measure candidates that were chosen already, each with settings of its own.

        Args:
            candidates: What to measure.
            plan: How much.
            stop: Ends the benchmark at once when set, in the middle of a round; what was measured stays. With
                it rounds begin whatever the budget says.

        Raises:
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        run = BenchmarkRun(
            candidates,
            plan,
            self._runtime,
            on_progress=self._on_progress,
            on_round=self._on_round,
            stop=stop,
        )
        try:
            run.run()
        finally:
            self.report, self.failure = run.report, run.failure
            self.number = self._recorded(self.report)
        return self.report

    def _recorded(self, report: BenchmarkReport) -> int | None:
        """Keep what was measured, also by a benchmark that was interrupted."""
        wanted = self._runtime.config.settings.monitoring
        if not wanted or not any(candidate.requests for candidate in report.candidates):
            return None
        return self._runtime.history.record_benchmark(report.to_dict())

    def run_like(
        self,
        base: BenchmarkReport,
        *,
        models: Sequence[str] = (),
        quick: bool = False,
        rounds: int | None = None,
        budget: float | None = None,
        deadline: float | None = None,
    ) -> BenchmarkReport:
        """Measure again what an earlier report measured: models, backends, settings and workloads.

        Args:
            base: The earlier report.
            models: The models to measure instead of those it names.
            quick: Whether to measure the few workloads of a quick benchmark only.
            rounds: How many times each candidate is loaded and measured, instead of as many as then.
            budget: Seconds for each candidate, instead of those of then.
            deadline: Seconds for loading and for the first token, instead of those of then.

        Raises:
            ModelplugError: No model is named that is still there.
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        plan = _plan_like(base, quick=quick, rounds=rounds, budget=budget, deadline=deadline)
        distinct: dict[tuple[Path, str, str], BenchmarkCandidate] = {}
        for before in base.candidates:
            backends = [before.backend] if before.backend else []
            for name in models or [self._still_there(before)]:
                for candidate in choose_candidates([name], backends, before.requested, self._runtime):
                    label = candidate.label if models else before.label
                    identity = (candidate.info.path, candidate.backend, repr(candidate.settings))
                    distinct[identity] = attrs.evolve(candidate, label=label)
        return self.measure(tuple(distinct.values()), plan)

    def _still_there(self, earlier: CandidateResult) -> str:
        """What to call the model of an earlier measurement today."""
        name, path = earlier.model.name, earlier.model.path
        if path and Path(path).expanduser().exists():
            return path
        if name and name != path:
            return name
        if not name:
            return self._usual_model()
        raise ModelplugError(
            "the baseline's model is no longer there",
            why=f"{path} does not exist",
            advice="Name the model: `modelplug compare BASELINE --model PATH`.",
        )


def _plan_like(
    base: BenchmarkReport, *, quick: bool, rounds: int | None, budget: float | None, deadline: float | None
) -> Plan:
    if quick:
        return Plan(workloads=QUICK, rounds=rounds, budget=budget, deadline=deadline, quick=True)
    protocol = base.protocol
    workloads = tuple(
        Benchmark(
            name=str(entry["name"]),
            prompt_tokens=int(entry["prompt_tokens"]),
            generate_tokens=int(entry["generate_tokens"]),
            text=str(entry.get("text", "")),
        )
        for entry in protocol.workloads
    )
    return Plan(
        workloads=workloads or STANDARD,
        # Another program's baseline says nothing of rounds.
        rounds=rounds or (protocol.rounds if workloads else None),
        budget=budget or protocol.budget or None,
        deadline=deadline or protocol.deadline,
        quick=protocol.quick,
    )
