"""Runs one training step, and counts the memory it takes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from resnet_bk.memory.activations import ActivationOffload
from resnet_bk.memory.counting import SavedTensors, TensorMemory
from resnet_bk.memory.report import StepMemory

__all__ = ["measure_step"]


def measure_step(
    step: Callable[[], object], device: torch.device, activations: ActivationOffload | None
) -> StepMemory:
    """Count the memory of a step.

    Args:
        step: The step.
        device: Where it computes.
        activations: What moves saved tensors in it; it also says which it leaves where they are.
    """
    counted = SavedTensors()
    before = 0
    if activations is not None:
        before, activations.counted = activations.moved, counted
    try:
        with counted.hooks():
            peak = _peak(step, device)
    finally:
        if activations is not None:
            activations.counted = None
    moved = 0 if activations is None else activations.moved - before
    return StepMemory(device=device.type, saved=counted.peak, moved=moved, peak=peak)


def _peak(step: Callable[[], object], device: torch.device) -> int:
    """The most bytes that a step took at one time, above what there was before."""
    if device.type == "cpu":
        memory = TensorMemory()
        with memory:
            step()
        return memory.peak
    # Allocators of accelerators count by themselves.
    allocator = torch.get_device_module(device)
    allocator.reset_peak_memory_stats(device)
    before: int = allocator.memory_allocated(device)
    step()
    peak: int = allocator.max_memory_allocated(device)
    return peak - before
