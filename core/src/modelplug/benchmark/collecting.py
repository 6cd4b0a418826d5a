"""What one benchmark measures with, and where it collects what it measures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.backends.model import CancelToken
    from modelplug.benchmark.accelerators import AcceleratorWatch
    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.energy import EnergyMeter
    from modelplug.benchmark.records import RequestRecord, RoundRecord
    from modelplug.errors import ModelplugError
    from modelplug.runtime import Runtime

__all__ = ["Collected", "Instruments", "MeasuringStoppedError"]


class MeasuringStoppedError(Exception):
    """The measuring was stopped in the middle of a round; it never leaves this room."""


@attrs.define(kw_only=True)
class Instruments:
    """What measures, and what is shared by all candidates.

    Attributes:
        runtime: Plugins, settings and history.
        accelerators: Watches the GPUs; None where there is none.
        energy: Reads energy counters.
        began: When the benchmark began, by `time.perf_counter`.
        deadline: Seconds for loading and for each first token; None takes the settings' own.
        longest_request: Seconds after which a request is given up.
        on_step: Told of each workload before it is measured.
        stop: Ends the engine and the round at once when set; None lets every round come to its end.
    """

    runtime: Runtime
    accelerators: AcceleratorWatch | None
    energy: EnergyMeter
    began: float
    deadline: float | None
    longest_request: float
    on_step: Callable[[str], None]
    stop: CancelToken | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was set."""
        return self.stop is not None and self.stop.cancelled

    def since_start(self) -> float:
        """Seconds since the benchmark began."""
        return round(time.perf_counter() - self.began, 6)


@attrs.define(kw_only=True)
class Collected:
    """What has been measured of one candidate so far.

    Attributes:
        candidate: What is measured.
        requests: Every request that ended.
        rounds: Every round, the last one maybe cut short.
        prompts: The prompt of each generating workload, the same in every round.
        skipped: Workload -> why it is left out.
        effective: The settings in force, once it was loaded.
        notes: How they differ from what was asked for.
        error: What ended it; None while it goes on.
    """

    candidate: BenchmarkCandidate
    requests: list[RequestRecord] = attrs.field(factory=list)
    rounds: list[RoundRecord] = attrs.field(factory=list)
    prompts: dict[str, str | list[int]] = attrs.field(factory=dict)
    skipped: dict[str, str] = attrs.field(factory=dict)
    effective: dict[str, Any] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()
    error: ModelplugError | None = None
