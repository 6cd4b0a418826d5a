"""Turns "this engine can run this model" into an ordered list of ways to do it that fit into memory.

The memory verdict binds: a plan that does not fit even by the lowest estimate is not made, unless the caller
forces it. Memory is judged on each device by itself. What the caller asked for in this call is kept exactly
in the first plan; later plans may place fewer layers on the GPU, because that is what falling back means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.backends.resources import (
    automatic_contexts,
    default_threads,
    kv_type,
    most_free,
    unknown_devices,
)
from modelplug.backends.types import BackendState, LoadPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.backends.types import BackendReport
    from modelplug.backends.wishes import Demand
    from modelplug.formats.memory_fit import FitVerdict
    from modelplug.formats.model_info import ModelInfo
    from modelplug.system.info import Device, SystemInfo

__all__ = ["PlanSet", "make_plans"]

WORTHWHILE_CONTEXT = 4096
"""An automatic context is not made smaller than this only to get the whole model onto a GPU."""


@attrs.frozen(kw_only=True)
class PlanSet:
    """What `make_plans` found.

    Attributes:
        plans: In the order to try them; empty if there is no way.
        reason: Why the first plan, or why none, with the figures.
        context_bytes: Bytes of keys and values of the first plan's context.
        needed: If memory rules the model out, the bytes needed; otherwise None.
        available: If memory rules the model out, the bytes available; otherwise None.
    """

    plans: tuple[LoadPlan, ...]
    reason: str
    context_bytes: int = 0
    needed: int | None = None
    available: int | None = None


@attrs.frozen
class _Way:
    """One placement that was judged: where, with which context, and the verdict on it."""

    device: Device | None
    context: int
    layers: int
    verdict: FitVerdict


def make_plans(
    info: ModelInfo, report: BackendReport, demand: Demand, system: SystemInfo, *, force: bool = False
) -> PlanSet:
    """Every way to run a model with one backend that fits into memory, in the order to try them.

    Args:
        info: The model.
        report: The backend; it must be able to run the model otherwise.
        demand: What it is asked to do.
        system: This machine.
        force: Whether to make the plan that was asked for even if it does not fit.
    """
    return _Planner(info, report, demand, system, force).plan()


class _Planner:
    """Makes the plans of one backend for one model."""

    def __init__(
        self, info: ModelInfo, report: BackendReport, demand: Demand, system: SystemInfo, force: bool
    ) -> None:
        self.info = info
        self.report = report
        self.demand = demand
        self.system = system
        self.force = force
        self.contexts = automatic_contexts(info) if demand.context_size is None else (demand.context_size,)
        self.threads = demand.threads or default_threads(system)

    def plan(self) -> PlanSet:
        on_gpu = self._best_gpu_way()
        on_cpu = self._cpu_way()
        plans = [*self._gpu_plans(on_gpu)] if on_gpu else []
        if self.demand.exact_layers and self.demand.gpu_layers != 0 and not plans:
            return self._refused(self._exact_layers_refusal(on_cpu))
        if on_cpu.verdict.fits or (self.force and not plans):
            plans.append(self._plan(on_cpu, self._cpu_reason(on_cpu, fallback=bool(plans))))
        if not plans:
            return self._refused(on_cpu.verdict.reason, on_cpu.verdict)
        first = on_gpu or on_cpu
        return PlanSet(plans=tuple(plans), reason=plans[0].reason, context_bytes=first.verdict.need.kv)

    def _refused(self, reason: str, verdict: FitVerdict | None = None) -> PlanSet:
        return PlanSet(
            plans=(),
            reason=reason,
            needed=verdict.needed if verdict else None,
            available=verdict.available if verdict else None,
        )

    # The CPU

    def _cpu_way(self) -> _Way:
        ways = [self._judge(None, context, 0) for context in self.contexts]
        return next((way for way in ways if way.verdict.fits), ways[-1])

    def _cpu_reason(self, way: _Way, *, fallback: bool) -> str:
        parts = [f"on the CPU with {self.threads} threads: {way.verdict.reason}{self._context_note(way)}"]
        if not way.verdict.fits:
            parts.append("tried because force was asked for")
        elif fallback:
            parts.append("tried if the GPU fails")
        elif self.report.state is BackendState.CPU and self.system.visible_devices and self.report.cause:
            parts.append(f"the GPU is not used: {self.report.cause}")
        return "; ".join(parts)

    # GPUs

    def _best_gpu_way(self) -> _Way | None:
        if self.demand.gpu_layers == 0 or self.report.state is not BackendState.GPU:
            return None
        if self.report.gpu_offload == "none":
            return None
        ways = [way for device in self._devices() if (way := self._gpu_way(device))]
        return max(ways, key=self._goodness, default=None)

    def _devices(self) -> list[Device]:
        known = [device for device in self.system.visible_devices if device.id in self.report.devices]
        return known or unknown_devices(self.report, self.system)

    def _goodness(self, way: _Way) -> tuple[bool, int, int, int, int]:
        assert way.device is not None
        return (
            self._is_whole(way),
            way.context,
            way.verdict.gpu_layers,
            way.device.memory_free or 0,
            -way.device.index,
        )

    def _is_whole(self, way: _Way) -> bool:
        from modelplug.formats.memory import offloadable_layers

        return way.verdict.gpu_layers >= offloadable_layers(self.info)

    def _gpu_way(self, device: Device) -> _Way | None:
        ways = [self._judge(device, context, self.demand.gpu_layers) for context in self.contexts]
        if self.force and self.demand.exact_layers:
            return ways[0]
        if self.demand.exact_layers:
            return next((way for way in ways if way.verdict.verdict == "fits"), None)
        useful = [way for way in ways if way.verdict.fits and way.verdict.gpu_layers > 0]
        worthwhile = min(self.contexts[0], WORTHWHILE_CONTEXT)
        whole = [way for way in useful if self._is_whole(way) and way.context >= worthwhile]
        if self.report.gpu_offload == "whole":
            whole = [way for way in useful if self._is_whole(way)]
            return whole[0] if whole else None
        return next(iter(whole or useful), None)

    def _judge(self, device: Device | None, context: int, layers: int | None) -> _Way:
        from modelplug.formats.memory_fit import fit

        verdict = fit(
            self.info,
            ram_available=self.system.memory.available,
            device_free=None if device is None else most_free(device, self.system),
            context_size=context,
            kv_type=kv_type(self.report, self.demand),
            gpu_layers=layers,
            batch_size=self.demand.batch_size,
            ubatch=min(self._number("ubatch_size", 512), self.demand.batch_size),
            flash_attention=self._flash_attention(),
            parallel=self._number("parallel", 1),
            dequantised_bytes_per_parameter=self.report.dequantises,
            unified_memory=device is not None and device.unified_memory,
        )
        return _Way(device, context, layers if layers is not None else verdict.gpu_layers, verdict)

    def _flash_attention(self) -> bool | None:
        """Whether the engine saves memory by flash attention; None where it decides by itself."""
        if "flash_attention" not in self.report.settings:
            return False
        wanted = self.demand.settings.get("flash_attention")
        return wanted if isinstance(wanted, bool) else None

    def _number(self, name: str, default: int) -> int:
        """A setting that several engines have and that changes how much memory is needed."""
        value = self.demand.settings.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default

    def _gpu_plans(self, way: _Way) -> Iterator[LoadPlan]:
        assert way.device is not None
        exact = self.demand.exact_layers
        layers = way.layers if exact else way.verdict.gpu_layers
        if self._is_whole(way) and not exact:
            layers = -1
        on_device = f"on {way.device.id} ({way.device.name})"
        parts = [f"{on_device}: {way.verdict.reason}{self._context_note(way)}"]
        if exact and way.verdict.verdict != "fits":
            parts.append(f"{_layers(layers)} tried because force was asked for")
        if way.device.memory_free is None and not way.device.unified_memory:
            parts.append("the driver does not say how much of its memory is free, so only trying will tell")
        yield self._plan(way, "; ".join(parts), layers=layers)
        if self.report.gpu_offload == "layers":
            yield from self._fewer_layers(way, on_device)

    def _fewer_layers(self, way: _Way, on_device: str) -> Iterator[LoadPlan]:
        from modelplug.formats.memory import offloadable_layers

        most = offloadable_layers(self.info)
        start = way.verdict.need.gpu_layers if way.layers >= 0 else most
        start = min(start, most)
        if not self.info.weights.layers:
            return  # without a known layer structure there is nothing between all and none
        tried = {start}
        for quarters in (3, 2, 1):
            layers = start * quarters // 4
            if layers < 1 or layers in tried:
                continue
            tried.add(layers)
            fewer = self._judge(way.device, way.context, layers)
            if fewer.verdict.verdict == "fits":
                reason = f"{on_device}, tried if more layers fail: {fewer.verdict.reason}"
                yield self._plan(fewer, reason, layers=layers)

    def _exact_layers_refusal(self, on_cpu: _Way) -> str:
        asked = self.demand.gpu_layers or 0
        devices = self._devices()
        if not devices:
            return f"{_layers(asked)} on the GPU asked for, but it can use no GPU here"
        said = []
        for device in devices:
            free = self._judge(device, self.contexts[-1], None).verdict
            asked_need = self._judge(device, self.contexts[-1], asked).verdict
            said.append(
                f"{device.id}: {asked_need.reason}; at most {free.gpu_layers} layers fit by themselves"
            )
        rest = "" if on_cpu.verdict.fits else f"; on the CPU: {on_cpu.verdict.reason}"
        return f"{_layers(asked)} on the GPU asked for, which do not fit ({'; '.join(said)}){rest}"

    # Both

    def _plan(self, way: _Way, reason: str, *, layers: int = 0) -> LoadPlan:
        settings = dict(self.demand.settings)
        decided = {"gpu_layers": layers, "context_size": way.context, "threads": self.threads}
        # What the settings leave to the machine is in the plan's own fields; what they name must agree.
        settings.update({name: value for name, value in decided.items() if settings.get(name) is not None})
        needed, available = self._tightest(way, layers)
        return LoadPlan(
            backend=self.report.name,
            device=way.device.id if way.device else "cpu",
            gpu_layers=layers,
            context_size=way.context,
            threads=self.threads,
            settings=settings,
            needed=needed,
            available=available,
            reason=reason,
        )

    def _tightest(self, way: _Way, layers: int) -> tuple[int, int | None]:
        """Bytes needed and free on the resource with the least room to spare."""
        need, ram = way.verdict.need, self.system.memory.available
        if layers == 0 or way.device is None:
            return need.host_low, ram
        if way.device.unified_memory:
            return need.total_low, ram
        free = way.device.memory_free if way.device.memory_free is not None else way.device.memory_total
        if free is None:
            return need.gpu_low, None
        if ram - need.host_low < free - need.gpu_low:
            return need.host_low, ram
        return need.gpu_low, free

    def _context_note(self, way: _Way) -> str:
        known = self.info.context_length
        if self.demand.context_size is not None:
            if known is not None and way.context > known:
                return f"; the context of {way.context} tokens is more than the {known} it was trained for"
            return f"; context {way.context} tokens as asked"
        if way.context == known:
            return f"; context {way.context} tokens, all that it was trained for"
        of = f" of the {known} it was trained for" if known else ""
        why = "the most chosen by itself" if way.context == self.contexts[0] else "to fit into memory"
        return f"; context {way.context} tokens{of}, {why}"


def _layers(count: int) -> str:
    if count < 0:
        return "all layers"
    return "1 layer" if count == 1 else f"{count} layers"
