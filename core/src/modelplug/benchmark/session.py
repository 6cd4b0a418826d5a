"""One round of one candidate: load it, warm it up, measure every workload, and close it again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.model import CancelToken, GenerateParams
from modelplug.benchmark.collecting import MeasuringStoppedError
from modelplug.benchmark.prompts import PromptCutter
from modelplug.benchmark.records import RequestRecord, RoundRecord
from modelplug.benchmark.watching import MemoryWatch, ProcessorShare, yardstick
from modelplug.errors import BackendError, ModelplugError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.process import WorkerProcess
    from modelplug.benchmark.collecting import Collected, Instruments
    from modelplug.benchmark.workload import Benchmark

__all__ = ["measure_round", "statistics_missing"]

WARM_UPS = 5
"""At most so many requests warm a workload up."""

SETTLED = 0.97
"""A request that takes more than this share of the fastest before it shows that warming up is over."""

LONG_SECONDS = 3.0
"""Start-up effects are small beside a request that takes longer: it counts, even as the first one."""

REPETITION_SECONDS = 0.25
"""Short requests are repeated within a round until they have taken about this long together."""

MOST_REPETITIONS = 10
PROMPT_TRIES = 5
_LEAST_READINGS = 3


def measure_round(
    collected: Collected, number: int, workloads: Sequence[Benchmark], instruments: Instruments
) -> None:
    """Measure one round into `collected`; what was measured stays there whatever ends it.

    Args:
        collected: Where to; its candidate is loaded.
        number: The round, from 0.
        workloads: What to measure.
        instruments: What to measure with.

    Raises:
        ModelplugError: The engine failed.
        MeasuringStoppedError: `instruments.stop` was set.
        KeyboardInterrupt: The user has had enough.
    """
    try:
        _load_and_measure(collected, number, workloads, instruments)
    except ModelplugError as error:
        # An engine that was ended from here has not failed.
        if instruments.stopped:
            raise MeasuringStoppedError from error
        raise


def _load_and_measure(
    collected: Collected, number: int, workloads: Sequence[Benchmark], instruments: Instruments
) -> None:
    from modelplug.backends.api import load

    candidate = collected.candidate
    instruments.on_step("loading")
    at, speed, before_load = instruments.since_start(), yardstick(), time.monotonic()
    with load(
        candidate.info.path,
        backend=candidate.backend,
        isolation="process",
        fallback="never",
        runtime=instruments.runtime,
        timeout=instruments.deadline,
        cancel=instruments.stop,
        force=candidate.force,
        purpose="benchmark",
        **candidate.settings,
    ) as model:
        _note_effective(collected, model)
        worker: WorkerProcess = model.engine.process  # type: ignore[attr-defined]
        if instruments.stop is not None:
            instruments.stop.on_cancel(worker.kill)
        loaded_at = time.monotonic()
        memory, share = MemoryWatch(worker), ProcessorShare(worker)
        try:
            _Round(collected, number, model, instruments).measure(workloads)
        finally:
            peak = memory.finish()
            device = model.effective.device
            collected.rounds.append(
                RoundRecord(
                    number=number,
                    at=at,
                    seconds=instruments.since_start() - at,
                    load_seconds=model.load_result.load_time,
                    resident_bytes=model.load_result.resident_bytes,
                    peak_bytes=max(peak, model.load_result.resident_bytes),
                    peak_device_bytes=_device_peak(instruments, device, before_load),
                    gpu_utilization=_utilization(instruments, device, loaded_at),
                    other_load=share.others(),
                    yardstick_seconds=speed,
                )
            )


def _note_effective(collected: Collected, model: LoadedModel) -> None:
    effective = attrs.asdict(model.effective)
    collected.notes = tuple(effective.pop("notes"))
    collected.effective = effective


def _device_peak(instruments: Instruments, device: str, before_load: float) -> int | None:
    if instruments.accelerators is None or device == "cpu":
        return None
    now = time.monotonic()
    before = [r.memory_used for r in instruments.accelerators.readings(device, 0.0, before_load)]
    during = [r.memory_used for r in instruments.accelerators.readings(device, before_load, now)]
    known = [used for used in during if used is not None]
    if not known or not before or before[-1] is None:
        return None
    return max(0, max(known) - before[-1])


def _utilization(instruments: Instruments, device: str, since: float) -> float | None:
    if instruments.accelerators is None or device == "cpu":
        return None
    readings = instruments.accelerators.readings(device, since, time.monotonic())
    known = [r.utilization for r in readings if r.utilization is not None]
    return sum(known) / len(known) if known else None


class _Round:
    """The requests of one round."""

    def __init__(
        self, collected: Collected, number: int, model: LoadedModel, instruments: Instruments
    ) -> None:
        self._collected = collected
        self._number = number
        self._model = model
        self._instruments = instruments
        self._cutters: dict[str, PromptCutter] = {}

    def measure(self, workloads: Sequence[Benchmark]) -> None:
        """Warm every workload up, then measure them in turn, so that a drift touches all alike."""
        fitting = [workload for workload in workloads if self._fits(workload)]
        left = {workload.name: self._warm_up(workload) for workload in fitting}
        for turn in range(max(left.values(), default=0)):
            for workload in fitting:
                if turn < left[workload.name] and workload.name not in self._collected.skipped:
                    self._request(workload, warm_up=False)

    def _fits(self, workload: Benchmark) -> bool:
        if workload.name in self._collected.skipped:
            return False
        size = self._model.effective.context_size
        if size and workload.context_needed > size:
            reason = f"it needs {workload.context_needed} tokens of context, and there are {size}"
            self._collected.skipped[workload.name] = reason
            return False
        return True

    def _warm_up(self, workload: Benchmark) -> int:
        """Run a workload until it gets no faster; gives how often it is to be measured after that."""
        self._instruments.on_step(workload.name)
        best = math.inf
        for _ in range(WARM_UPS):
            record = self._first_request(workload)
            taken = record.total_seconds
            if workload.name in self._collected.skipped:
                return 0
            if taken > LONG_SECONDS:
                self._collected.requests[-1] = attrs.evolve(record, warm_up=False)
                return _repetitions(taken) - 1
            if taken > SETTLED * best:
                break
            best = taken
        return _repetitions(taken)

    def _first_request(self, workload: Benchmark) -> RequestRecord:
        """A request to warm up; in the first round it also finds a prompt with a long enough answer."""
        if workload.measures_prompt or workload.name in self._collected.prompts:
            return self._request(workload, warm_up=True)
        longest: tuple[int, str | list[int]] = (-1, [])
        for _ in range(PROMPT_TRIES):
            prompt = self._cutter(workload).cut(workload.prompt_tokens)
            record = self._request(workload, warm_up=True, prompt=prompt)
            longest = max(longest, (record.completion_tokens, prompt), key=lambda found: found[0])
            long_enough = record.completion_tokens >= workload.generate_tokens
            too_slow = record.total_seconds > LONG_SECONDS or workload.name in self._collected.skipped
            if long_enough or too_slow:
                break
        self._collected.prompts[workload.name] = longest[1]
        return record

    def _cutter(self, workload: Benchmark) -> PromptCutter:
        if workload.text not in self._cutters:
            self._cutters[workload.text] = PromptCutter(self._model, workload.text, seed=self._number + 1)
        return self._cutters[workload.text]

    def _request(
        self, workload: Benchmark, *, warm_up: bool, prompt: str | list[int] | None = None
    ) -> RequestRecord:
        if prompt is None:
            prompt = self._collected.prompts.get(workload.name)
        if prompt is None:
            prompt = self._cutter(workload).cut(workload.prompt_tokens)
        record = self._measured(workload, prompt, warm_up=warm_up)
        self._collected.requests.append(record)
        if record.finish_reason == "cancelled":
            self._collected.skipped[workload.name] = (
                f"a request took longer than {self._instruments.longest_request:g} s and was given up"
            )
        return record

    def _measured(self, workload: Benchmark, prompt: str | list[int], *, warm_up: bool) -> RequestRecord:
        params = GenerateParams(max_tokens=workload.generate_tokens, temperature=0.0)
        cancel = CancelToken()
        energy = self._instruments.energy
        at, joules_before, began = self._instruments.since_start(), energy.read(), time.monotonic()
        last = None
        for chunk in self._model.generate(prompt, params, cancel=cancel):
            last = chunk
            if time.monotonic() - began > self._instruments.longest_request:
                cancel.cancel()
        ended = time.monotonic()
        stats = None if last is None else last.stats
        if last is None or stats is None or stats.first_token_seconds is None or stats.total_seconds is None:
            raise statistics_missing(self._collected.candidate.backend)
        return RequestRecord(
            workload=workload.name,
            round=self._number,
            at=at,
            warm_up=warm_up,
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            completion_tokens=stats.completion_tokens,
            prompt_seconds=stats.prompt_seconds,
            generate_seconds=stats.generate_seconds,
            first_token_seconds=stats.first_token_seconds,
            total_seconds=stats.total_seconds,
            joules=self._joules(energy.joules(joules_before, energy.read()), began, ended),
            finish_reason=last.finish_reason or "",
        )

    def _joules(self, processor: float | None, began: float, ended: float) -> float | None:
        """Energy of the processor and, where the model is on a GPU, of that GPU too."""
        device = self._model.effective.device
        if device == "cpu" or self._instruments.accelerators is None:
            return processor
        readings = self._instruments.accelerators.readings(device, began, ended)
        watts = [reading.watts for reading in readings if reading.watts is not None]
        if len(watts) < _LEAST_READINGS:
            return None
        return (processor or 0.0) + sum(watts) / len(watts) * (ended - began)


def statistics_missing(backend: str) -> BackendError:
    """The error for an answer whose last chunk does not have what every last chunk must have.

    Args:
        backend: The engine that gave it.
    """
    return BackendError(
        "the engine ended its answer without statistics",
        backend=backend,
        phase="generate",
        cause="contract",
        why="the last chunk of every answer must have them",
        advice="Report this to the author of the plugin.",
    )


def _repetitions(seconds: float) -> int:
    """How often a request that takes so long is measured in one round."""
    if seconds > LONG_SECONDS:
        return 1
    least = 3 if seconds <= 1 else 2
    return min(MOST_REPETITIONS, max(least, math.ceil(REPETITION_SECONDS / max(seconds, 1e-6))))
