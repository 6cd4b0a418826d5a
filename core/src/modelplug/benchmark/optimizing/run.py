"""One search for better settings, from the settings in force to the proposal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.select import BackendSelector
from modelplug.benchmark.environment import observe
from modelplug.benchmark.optimizing.conclusion import CONFIRMING_SHARE, Conclusion
from modelplug.benchmark.optimizing.confirmation import Confirmation, confirm, rounds_for_evidence
from modelplug.benchmark.optimizing.goals import choose_sizes, pilot_sizes
from modelplug.benchmark.optimizing.proposal import OptimizationProposal
from modelplug.benchmark.optimizing.search import Search
from modelplug.benchmark.optimizing.space import BATCH_SIZES, SearchSpace, search_space
from modelplug.benchmark.optimizing.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.optimizing.limit import TimeLimit
    from modelplug.benchmark.optimizing.trials import Contestant
    from modelplug.benchmark.run import Progress
    from modelplug.runtime import Runtime

__all__ = ["OptimizationProgress", "OptimizationRun", "Wanted"]


@attrs.frozen(kw_only=True)
class Wanted:
    """What a search is for, and what it may do.

    Attributes:
        goal: `generation`, `prompt` or `memory`.
        least_context: The smallest context allowed; None leaves the context as it is.
        kv_types: Whether other types of keys and values are allowed, which change what the model says.
    """

    goal: str
    least_context: int | None = None
    kv_types: bool = False


@attrs.frozen(kw_only=True)
class OptimizationProgress:
    """Where a search is.

    Attributes:
        phase: `searching` or `confirming`.
        label: The settings that are being measured.
        step: What is being measured of them: `loading`, or a workload's name.
        done: The part of the time that is used, from 0 to 1.
    """

    phase: str
    label: str
    step: str
    done: float


class OptimizationRun:
    """A search for one model with one backend.

    Args:
        base: The model, the backend, and no settings: those in force.
        wanted: What it is for.
        runtime: Plugins, settings, history and system.
        limit: The time there is.
        on_progress: Told of every step.

    Raises:
        ModelplugError: The backend can't run the model with the settings in force.
    """

    def __init__(
        self,
        base: BenchmarkCandidate,
        wanted: Wanted,
        runtime: Runtime,
        limit: TimeLimit,
        on_progress: Callable[[OptimizationProgress], None] | None,
    ) -> None:
        from modelplug.system import Host

        assert base.report is not None
        self._base = base
        self._wanted = wanted
        self._runtime = runtime
        self._limit = limit
        self._on_progress = on_progress
        self._selector = BackendSelector(runtime)
        plan = self._selector.select(base.info, backend=base.backend).plans[0]
        self._plan = plan
        self._context = min(plan.context_size, wanted.least_context or plan.context_size)
        workloads = pilot_sizes(wanted.goal, context=self._context)
        environment = observe(runtime.system, [base.report], Host.current())
        self._trials = Trials(base, workloads, runtime, limit, environment, self._tell_search)
        self._space = SearchSpace(settings=())
        self._search: Search | None = None
        self._confirmation: Confirmation | None = None

    def run(self) -> None:
        """Search and confirm; `proposal` then has the result.

        Raises:
            ModelplugError: The engine failed with the settings in force.
            KeyboardInterrupt: The user ended it; `proposal` has everything until then.
        """
        if not self._choose_sizes():
            return
        self._space = self._choose_space()
        self._search = Search(
            self._trials, self._space, self._verdict, self._limit, CONFIRMING_SHARE * self._limit.seconds
        )
        challenger = self._search.run()
        now = self._trials.contestant({})
        if now.collected.error is not None:
            raise now.collected.error
        finalists = self._finalists(now, challenger)
        # A round may turn out shorter than those so far, but hardly than the shortest of them.
        least = len(finalists) * rounds_for_evidence(len(finalists) - 1) * self._trials.shortest
        if len(finalists) == 1 or self._limit.left < least:
            return
        self._confirmation = Confirmation(finalists=finalists, figure=self._trials.workloads.figure)
        confirm(
            self._confirmation,
            self._trials,
            self._runtime,
            self._limit,
            self._tell_confirmation,
        )

    def _choose_sizes(self) -> bool:
        """Learn from a first round, which counts nowhere else, what to measure; False if time has ended."""
        now = self._trials.contestant({})
        if not self._trials.measure(now, everything=True):
            return False
        if now.collected.error is not None:
            raise now.collected.error
        rates: dict[str, float | None] = {}
        for workload in self._trials.workloads.confirm:
            metric = self._trials.figure(now, workload.name)
            rates["prompt" if workload.measures_prompt else "generation"] = metric.median if metric else None
        self._trials.begin_anew(
            choose_sizes(
                self._wanted.goal,
                context=self._context,
                generation=rates["generation"],
                prompt=rates["prompt"],
                budget=self._limit.seconds,
            )
        )
        return True

    def _choose_space(self) -> SearchSpace:
        assert self._base.report is not None
        prompt = max(workload.prompt_tokens for workload in self._trials.workloads.confirm)
        return search_space(
            self._base.info,
            self._base.report,
            self._plan,
            self._runtime,
            goal=self._wanted.goal,
            least_context=self._wanted.least_context,
            kv_types=self._wanted.kv_types,
            # The first size that takes the whole prompt at once.
            most_batch=next((size for size in BATCH_SIZES if size >= prompt), BATCH_SIZES[-1]),
        )

    def _finalists(self, now: Contestant, challenger: Contestant | None) -> list[Contestant]:
        """The settings in force, the best of the others, and the engine's own where these are neither."""
        found = [now]
        if challenger is not None:
            found.append(challenger)
        if self._space.engine_defaults:
            defaults = self._trials.contestant(self._space.engine_defaults)
            if defaults.alive and defaults not in found and not self._verdict(defaults.settings):
                found.append(defaults)
        return found

    def _verdict(self, settings: dict[str, Any]) -> str:
        """Why the settings can't be tried: above all, that they do not fit into memory."""
        (judged,) = self._selector.candidates(self._base.info, backend=self._base.backend, settings=settings)
        return "" if judged.suitable else judged.reason

    # Progress

    def _tell_search(self, contestant: Contestant, step: str) -> None:
        self._tell("searching", contestant.label, step)

    def _tell_confirmation(self, progress: Progress) -> None:
        label = progress.label.removeprefix(f"{self._base.label}, ")
        self._tell("confirming", label, progress.step)

    def _tell(self, phase: str, label: str, step: str) -> None:
        if self._on_progress is not None:
            done = min(1.0, self._limit.used / self._limit.seconds)
            self._on_progress(OptimizationProgress(phase=phase, label=label, step=step, done=done))

    # The result

    def proposal(self, *, interrupted: bool) -> OptimizationProposal:
        """Everything so far.

        Args:
            interrupted: Whether the user ended it early; nothing is then proposed.
        """
        search, confirmation = self._search, self._confirmation
        conclusion = Conclusion(
            base=self._base,
            trials=self._trials,
            confirmation=confirmation,
            budget=self._limit.seconds,
            ran_out=search is None or search.ran_out,
            interrupted=interrupted,
        )
        return OptimizationProposal(
            model=self._base.model,
            backend=self._base.backend,
            goal=self._wanted.goal,
            changes=conclusion.changes(self._runtime),
            reason=conclusion.reason,
            gain=conclusion.gain,
            figures=conclusion.figures,
            tried=conclusion.tried,
            left_out=tuple(dict.fromkeys([*self._space.left_out, *(search.left_out if search else ())])),
            seconds=self._limit.used,
            budget=self._limit.seconds,
            interrupted=interrupted,
            benchmark=None if confirmation is None else confirmation.number,
            report=None if confirmation is None else confirmation.report,
        )
