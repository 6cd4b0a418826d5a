"""What tests of the search for settings share: a machine that only pretends to load and measure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from modelplug import Runtime
from modelplug.benchmark import run as run_module
from modelplug.benchmark.collecting import MeasuringStoppedError
from modelplug.benchmark.optimizing import limit as limit_module
from modelplug.benchmark.optimizing import trials as trials_module


@pytest.fixture
def four_cores(misbehaving: Any) -> Iterator[Any]:
    """A runtime on a machine of four cores with two threads each; its history is closed afterwards."""
    made = Runtime()
    cpu = attrs.evolve(made.system.cpu, physical_cores=4, logical_cores=8, usable_cores=8)
    made.__dict__["system"] = attrs.evolve(made.system, cpu=cpu)
    yield made
    made.history.close()


class PretendedMachine:
    """Pretends to load and measure: each round takes a second of a clock that only it moves.

    Attributes:
        rate: Tokens per second of generation with the settings it is given.
        noise: Each round is up to this part faster or slower.
        prompt_rate: The same for prompts.
        memory: The peak of main memory in bytes.
        seconds: How long a round takes.
        budget: How long everything may take.
        rounds: The settings of every round, in order.
        on_round: Called in each round with its number, from 1; may raise.
    """

    def __init__(self, reports: Any) -> None:
        self._reports = reports
        self._random = random.Random(2)
        self.now = self._began = 1000.0
        self._stop: Any = None
        self.budget = 60.0
        self.rate: Callable[[dict[str, Any]], float] = lambda _: 100.0
        self.prompt_rate: Callable[[dict[str, Any]], float] = lambda _: 1000.0
        self.memory: Callable[[dict[str, Any]], int] = lambda _: 2000
        self.noise = 0.02
        self.seconds = 1.0
        self.rounds: list[dict[str, Any]] = []
        self.on_round: Callable[[int], None] = lambda _: None

    def clock(self) -> float:
        """What the clock shows."""
        return self.now

    def measure_round(self, collected: Any, number: int, workloads: Any, instruments: Any) -> None:
        """Takes the place of the function of this name."""
        instruments.on_step("loading")
        settings = dict(collected.candidate.settings)
        self.rounds.append(settings)
        if instruments.stop is not self._stop:
            self._stop, self._began = instruments.stop, self.now
        self.now += self.seconds
        ends = self._began + 0.95 * self.budget
        if self._stop is not None and self.now > ends:
            # What a timer does where time is real.
            self.now = ends
            self._stop.cancel()
            raise MeasuringStoppedError
        self.on_round(len(self.rounds))
        for workload in workloads:
            noise = 1 + self._random.uniform(-self.noise, self.noise)
            rate = (self.prompt_rate if workload.measures_prompt else self.rate)(settings) * noise
            facts = {
                "prompt_tokens": workload.prompt_tokens,
                "completion_tokens": workload.generate_tokens,
                "prompt_seconds": workload.prompt_tokens / rate,
                "generate_seconds": max(1, workload.generate_tokens - 1) / rate,
            }
            collected.requests.append(self._reports.request(workload.name, number, **facts))
        collected.rounds.append(self._reports.round(number, peak_bytes=self.memory(settings)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, reports: Any) -> PretendedMachine:
    """A machine that takes the place of the real one in everything the search does."""
    made = PretendedMachine(reports)
    clock = SimpleNamespace(monotonic=made.clock, perf_counter=made.clock)
    for module in (limit_module, trials_module, run_module):
        monkeypatch.setattr(module, "time", clock)
    for module in (trials_module, run_module):
        monkeypatch.setattr(module, "measure_round", made.measure_round)
    return made
