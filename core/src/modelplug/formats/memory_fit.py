"""Whether a model fits into the memory that is free, and with how many layers on the GPU."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import attrs

from modelplug.formats.memory import (
    ALL_LAYERS,
    DEVICE_OVERHEAD,
    MIB,
    MemoryNeed,
    memory_need,
    offloadable_layers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.formats.model_info import ModelInfo

__all__ = ["FitVerdict", "fit"]

_GIB: Final = 1 << 30
_UNIFIED_OVERHEAD: Final = (0, 64 * MIB)  # there is no second memory for a driver to fill

Verdict = Literal["fits", "partial", "does-not-fit"]


@attrs.frozen(kw_only=True)
class FitVerdict:
    """Whether a model fits, and why.

    Attributes:
        verdict: `fits` (as asked, or entirely on the GPU if nothing was asked), `partial` (with fewer
            layers on the GPU than wanted, perhaps none), `does-not-fit` (not even by the lowest estimate).
        gpu_layers: Layers to put on the GPU.
        needed: Bytes needed at least, in the memory that decides.
        available: Bytes free there.
        tight: Whether only the low end of the estimate fits, so that loading may still fail.
        reason: The verdict in a sentence, with figures.
        need: The memory need for `gpu_layers`.
    """

    verdict: Verdict
    gpu_layers: int
    needed: int
    available: int
    tight: bool
    reason: str
    need: MemoryNeed

    @property
    def fits(self) -> bool:
        """Whether the model can be loaded at all."""
        return self.verdict != "does-not-fit"


def fit(
    info: ModelInfo,
    *,
    ram_available: int,
    device_free: int | None = None,
    context_size: int,
    kv_type: str | tuple[str, str] = "f16",
    gpu_layers: int | None = None,
    batch_size: int = 512,
    ubatch: int = 512,
    flash_attention: bool | None = False,
    parallel: int = 1,
    dequantised_bytes_per_parameter: float | None = None,
    margin: int = _GIB,
    ram_margin: int = 256 * MIB,
    unified_memory: bool = False,
) -> FitVerdict:
    """Decide whether a model fits, and how many of its layers fit on one GPU.

    A model is refused only if even the lowest estimate exceeds what is free. Between the lowest and the
    highest estimate
    the verdict is positive and says that it is tight. Layers chosen here, rather than asked for,
    leave the margin free by the highest estimate.

    Args:
        info: The model.
        ram_available: Free main memory in bytes.
        device_free: Free memory of one GPU in bytes; None to run on the CPU.
        context_size: Tokens in the context.
        kv_type: As for `memory_need`.
        gpu_layers: Layers wanted on the GPU, -1 for all; None to take as many as fit.
        batch_size: As for `memory_need`.
        ubatch: As for `memory_need`.
        flash_attention: As for `memory_need`.
        parallel: As for `memory_need`.
        dequantised_bytes_per_parameter: As for `memory_need`.
        margin: Bytes to leave free on the GPU.
        ram_margin: Bytes of main memory to leave free.
        unified_memory: Whether the GPU's memory is main memory.

    Returns:
        The verdict.
    """
    need = partial(
        memory_need,
        info,
        context_size=context_size,
        kv_type=kv_type,
        batch_size=batch_size,
        ubatch=ubatch,
        flash_attention=flash_attention,
        parallel=parallel,
        dequantised_bytes_per_parameter=dequantised_bytes_per_parameter,
        device_overhead=_UNIFIED_OVERHEAD if unified_memory else DEVICE_OVERHEAD,
    )
    room = _Room(ram_available, device_free or 0, ram_margin, margin, unified_memory)
    return _decide(
        info, lambda layers: need(gpu_layers=layers), room, gpu_layers, has_device=device_free is not None
    )


def _decide(
    info: ModelInfo,
    need_with: Callable[[int], MemoryNeed],
    room: _Room,
    gpu_layers: int | None,
    *,
    has_device: bool,
) -> FitVerdict:
    every = offloadable_layers(info)
    wanted = every if gpu_layers == ALL_LAYERS else min(every if gpu_layers is None else gpu_layers, every)
    if not has_device and gpu_layers is None:
        wanted = 0
    most = wanted if has_device else 0
    if gpu_layers is not None and most:
        need = need_with(most)
        if room.holds(need):
            return _verdict("fits", need, room, every)
    chosen = _most_layers(info, need_with, room, most)
    if chosen is None:
        return _refusal(need_with(0), need_with(most), room)
    return _verdict("fits" if chosen.gpu_layers == wanted else "partial", chosen, room, every)


@attrs.frozen
class _Room:
    """Free memory, and whether a need goes into it."""

    ram: int
    device: int
    ram_margin: int
    margin: int
    unified: bool

    def holds(self, need: MemoryNeed) -> bool:
        """Whether the lowest estimate goes in."""
        if self.unified:
            return need.total_low <= self.ram and need.gpu_low <= max(self.device, 0)
        return need.host_low <= self.ram and need.gpu_low <= self.device

    def holds_with_margin(self, need: MemoryNeed) -> bool:
        """Whether the highest estimate goes in and leaves the margins free."""
        gpu = need.gpu_layers == 0 or need.gpu_high + self.margin <= self.device
        host = need.total_high if self.unified else need.host_high
        return gpu and host + self.ram_margin <= self.ram

    def gpu_with_margin(self, need: MemoryNeed) -> bool:
        """Whether the GPU's part goes in with its margin, whatever the host's does."""
        return need.gpu_layers == 0 or need.gpu_high + self.margin <= self.device


def _most_layers(
    info: ModelInfo, need_with: Callable[[int], MemoryNeed], room: _Room, most: int
) -> MemoryNeed | None:
    """The need with as many layers on the GPU as the room allows; None if there is no way."""
    # without a known layer structure the model is on the GPU as a whole or not at all
    candidates = range(most, -1, -1) if info.weights.layers else (most, 0)
    fallback: MemoryNeed | None = None
    for layers in candidates:
        need = need_with(layers)
        if not room.holds(need):
            continue
        if room.gpu_with_margin(need):
            return need
        # kept in case the host alone can't hold the rest
        fallback = fallback or need
    return fallback


def _verdict(verdict: Verdict, need: MemoryNeed, room: _Room, every: int) -> FitVerdict:
    tight = not room.holds_with_margin(need)
    if need.gpu_layers:
        where = (
            f"with {need.gpu_layers} of {every} layers on the GPU"
            if need.gpu_layers < every
            else f"with all {every} layers on the GPU"
        )
        needed, available = need.gpu_low, room.device
        figures = (
            f"needs {_mib(need.gpu_low)} to {_mib(need.gpu_high)} MiB there, {_mib(room.device)} MiB are free"
        )
    else:
        where = "with no layers on the GPU" if verdict == "partial" else "in main memory"
        needed, available = need.host_low, room.ram
        figures = f"needs {_mib(need.host_low)} to {_mib(need.host_high)} MiB, {_mib(room.ram)} MiB are free"
        if verdict == "partial":
            figures += f" ({_mib(room.device)} MiB on the GPU)" if room.device else " (no GPU is there)"
    reason = f"fits {where}: {figures}"
    if tight:
        reason += "; that is tight: only the low estimate fits with nothing to spare, so loading may fail"
    return FitVerdict(
        verdict=verdict,
        gpu_layers=need.gpu_layers,
        needed=needed,
        available=available,
        tight=tight,
        reason=reason,
        need=need,
    )


def _refusal(on_cpu: MemoryNeed, on_gpu: MemoryNeed, room: _Room) -> FitVerdict:
    needed = min(on_cpu.host_low, on_gpu.total_low)
    available = room.ram if room.unified else room.ram + room.device
    if not room.device or room.unified:
        available, needed = room.ram, on_cpu.host_low
    reason = (
        f"does not fit: it needs at least {_mib(needed)} MiB for a context of {on_cpu.context_size} tokens "
        f"({_mib(on_cpu.weights_host)} MiB weights, {_mib(on_cpu.kv_host_low)} MiB KV cache), "
        f"{_mib(room.ram)} MiB of main memory are free"
    )
    if room.device:
        reason += f" and {_mib(room.device)} MiB on the GPU"
    return FitVerdict(
        verdict="does-not-fit",
        gpu_layers=0,
        needed=needed,
        available=available,
        tight=False,
        reason=reason,
        need=on_cpu,
    )


def _mib(count: int) -> str:
    return f"{count / MIB:,.0f}"
