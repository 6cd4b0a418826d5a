"""Measures one set of settings after the other, each in a process of its own, while searching."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.collecting import Collected, Instruments, MeasuringStoppedError
from modelplug.benchmark.energy import EnergyMeter
from modelplug.benchmark.metrics import draw_metrics, round_medians
from modelplug.benchmark.optimizing.space import spelled
from modelplug.benchmark.session import measure_round
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.optimizing.goals import Workloads
    from modelplug.benchmark.optimizing.limit import TimeLimit
    from modelplug.benchmark.records import Environment, Metric
    from modelplug.runtime import Runtime

__all__ = ["AS_THEY_ARE", "Contestant", "Trials"]

AS_THEY_ARE = "as they are"
"""What the settings in force are called."""

LONGEST_REQUEST_SECONDS = 60.0


@attrs.define(kw_only=True, eq=False)
class Contestant:
    """Settings that are tried.

    Attributes:
        settings: What differs from the settings in force; empty for these themselves.
        collected: What was measured of them.
    """

    settings: dict[str, Any]
    collected: Collected

    @property
    def label(self) -> str:
        """The settings, for people."""
        return spelled(self.settings) or AS_THEY_ARE

    @property
    def alive(self) -> bool:
        """Whether its engine has not failed."""
        return self.collected.error is None


class Trials:
    """Measures contestants, and remembers all of them.

    Args:
        base: The model with the backend, and the settings in force.
        workloads: What to measure at first.
        runtime: Plugins, settings and history.
        limit: The time there is.
        environment: The machine.
        on_step: Told of each step: the contestant and what is measured of it.

    Attributes:
        workloads: What is measured.
        contestants: Everything tried, in that order.
    """

    def __init__(
        self,
        base: BenchmarkCandidate,
        workloads: Workloads,
        runtime: Runtime,
        limit: TimeLimit,
        environment: Environment,
        on_step: Callable[[Contestant, str], None],
    ) -> None:
        from modelplug.system import Host

        self._base = base
        self.workloads = workloads
        self._runtime = runtime
        self._limit = limit
        self._environment = environment
        self._on_step = on_step
        self._energy = EnergyMeter(Host.current())
        self._began = time.perf_counter()
        self.contestants: list[Contestant] = []
        self._seconds: list[float] = []

    def contestant(self, settings: dict[str, Any]) -> Contestant:
        """The contestant with these settings on top of those in force."""
        for known in self.contestants:
            if known.settings == settings:
                return known
        made = Contestant(settings=settings, collected=Collected(candidate=self.candidate(settings)))
        self.contestants.append(made)
        return made

    def candidate(self, settings: dict[str, Any]) -> BenchmarkCandidate:
        """The same for a benchmark."""
        label = f"{self._base.label}, {spelled(settings) or AS_THEY_ARE}"
        return attrs.evolve(self._base, label=label, settings={**self._base.settings, **settings})

    @property
    def expected(self) -> float:
        """Seconds that the next round is expected to take."""
        # Not the longest of them: a moment in which the machine stood still says nothing of the next one.
        return statistics.median_low(self._seconds[-4:]) if self._seconds else 0.0

    @property
    def shortest(self) -> float:
        """Seconds that the shortest round has taken; 0 before any."""
        return min(self._seconds, default=0.0)

    def measure(self, contestant: Contestant, *, everything: bool = False) -> bool:
        """Measure one round; False if the time was used up before its end.

        Args:
            contestant: Whose.
            everything: Whether to measure more than the figure that counts takes.
        """
        workloads = self.workloads.confirm if everything else self.workloads.search
        began = time.monotonic()
        instruments = Instruments(
            runtime=self._runtime,
            accelerators=None,
            energy=self._energy,
            began=self._began,
            deadline=self._limit.deadline,
            longest_request=max(LONGEST_REQUEST_SECONDS, self._limit.seconds),
            on_step=lambda step: self._on_step(contestant, step),
            stop=self._limit.stop,
        )
        collected = contestant.collected
        try:
            measure_round(collected, len(collected.rounds), workloads, instruments)
        except MeasuringStoppedError:
            return False
        except ModelplugError as error:
            collected.error = error
        self._seconds.append(time.monotonic() - began)
        return True

    def begin_anew(self, workloads: Workloads) -> None:
        """Forget what was measured, but for the time it took, and measure something else from now on."""
        self.workloads = workloads
        self.contestants.clear()

    def figure(self, contestant: Contestant, name: str = "") -> Metric | None:
        """A figure as measured so far; None before it was.

        Args:
            contestant: Whose.
            name: Its name; empty for the one that counts.
        """
        collected = contestant.collected
        found = draw_metrics(self.workloads.confirm, collected.requests, collected.rounds, self._environment)
        wanted = name or self.workloads.figure
        return next((metric for metric in found if metric.name == wanted), None)

    def scores(self, contestant: Contestant, since: int = 0) -> list[float]:
        """The figure in each round from one on, turned so that more is better.

        Args:
            contestant: Whose.
            since: The first round that counts.
        """
        metric = self.figure(contestant)
        if metric is None:
            return []
        pairs = [(value, number) for value, number in zip(metric.values, metric.rounds, strict=True)]
        counted = [(value, number) for value, number in pairs if number >= since]
        medians = round_medians([value for value, _ in counted], [number for _, number in counted])
        return medians if metric.better == "higher" else [-median for median in medians]
