"""`ConfigOptimizer`: searches settings for a model, as the migration guide and `modelplug optimize` do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modelplug.benchmark.candidates import choose_candidates
from modelplug.benchmark.optimizing.goals import GENERATION, checked_goal
from modelplug.benchmark.optimizing.limit import TimeLimit
from modelplug.benchmark.optimizing.run import OptimizationRun, Wanted
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.benchmark.optimizing.proposal import OptimizationProposal
    from modelplug.benchmark.optimizing.run import OptimizationProgress
    from modelplug.history.wizard import AppliedChanges
    from modelplug.runtime import Runtime

__all__ = ["BUDGET_SECONDS", "ConfigOptimizer"]

BUDGET_SECONDS = 60.0
"""Seconds for a search, loading and everything else counted."""


class ConfigOptimizer:
    """Finds settings that suit this machine, by measuring them against those in force.

    Args:
        runtime: Plugins, settings and history; None makes a runtime of its own.
        on_progress: Told of every step.

    Attributes:
        proposal: What the latest search came to, also where Ctrl-C ended it; None before the first.

    Example:
        >>> optimizer = ConfigOptimizer()
        >>> proposal = optimizer.optimize_for_hardware("demo")
        >>> if proposal.improves:
        ...     undo = optimizer.apply_config(proposal).undo
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        on_progress: Callable[[OptimizationProgress], None] | None = None,
    ) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._on_progress = on_progress
        self.proposal: OptimizationProposal | None = None

    def optimize_for_hardware(
        self,
        model: str | None = None,
        *,
        backend: str | None = None,
        goal: str = GENERATION,
        budget: float = BUDGET_SECONDS,
        least_context: int | None = None,
        kv_types: bool = False,
    ) -> OptimizationProposal:
        """Search settings for a model with the backend that runs it; changes nothing.

        Threads, layers on the GPU, the batch size, and whether files are mapped and locked are searched
        where the engine has such a setting. What does not fit into memory by estimate is not tried.

        Args:
            model: A path, `demo`, or a registered name; None takes the settings' `model_path`, else `demo`.
            backend: The backend; None takes what selection picks.
            goal: `generation` or `prompt` for their speed, `memory` for less main memory.
            budget: Seconds for all of it. What is under way when they are used up is ended.
            least_context: The smallest context that may be proposed; None leaves the context as it is.
            kv_types: Whether smaller types of keys and values may be proposed. They change what the model
                says.

        Returns:
            The proposal. It has no changes where no evidence of a gain was found.

        Raises:
            ModelFileError: The model can't be used.
            NothingSuitableError: No installed backend can run it.
            BackendError: The engine failed with the settings in force.
            UsageError: The backend or the goal is unknown, or a number makes no sense.
            KeyboardInterrupt: The user ended it; the attribute `proposal` has everything until then.
        """
        self.proposal = None
        _check(budget, least_context)
        wanted = Wanted(goal=checked_goal(goal), least_context=least_context, kv_types=kv_types)
        with TimeLimit(budget) as limit:
            named = [model or self._usual_model()]
            (base, *_) = choose_candidates(named, [backend] if backend else [], {}, self._runtime)
            if base.problem is not None:
                raise base.problem
            run = OptimizationRun(base, wanted, self._runtime, limit, self._on_progress)
            try:
                run.run()
            except KeyboardInterrupt:
                self.proposal = run.proposal(interrupted=True)
                raise
            self.proposal = run.proposal(interrupted=False)
        return self.proposal

    def apply_config(self, proposal: OptimizationProposal) -> AppliedChanges:
        """Write the proposed changes into the settings file, all of them or none.

        They then hold for every model that the backend runs.

        Args:
            proposal: What `optimize_for_hardware` returned; without changes, nothing is written.

        Returns:
            What was changed, and what to type to have it as it was before.

        Raises:
            ConfigError: A value is not allowed any more, or the file can't be written; it is as it was.
        """
        from modelplug.history.wizard import OptimizationWizard, UsagePatterns, UsageRecommendations

        changes = UsageRecommendations(patterns=UsagePatterns(runs=0), changes=proposal.changes)
        return OptimizationWizard(self._runtime).apply_recommendations(changes)

    def _usual_model(self) -> str:
        from modelplug.data import DEMO

        configured = self._runtime.config.settings.model_path
        return str(configured) if configured else DEMO


def _check(budget: float, least_context: int | None) -> None:
    if not (budget > 0 and math.isfinite(budget)):
        raise UsageError(
            f"a search can't take {budget!r} seconds",
            why="the budget is a number of seconds above 0",
            advice=f"Give a number such as {BUDGET_SECONDS:g}, or leave it out.",
        )
    if least_context is not None and least_context < 1:
        raise UsageError(
            f"the least context can't be {least_context!r} tokens",
            why="it must be a whole number of at least 1",
            advice="Give the number of tokens that prompt and answer take together, for example 2048.",
        )
