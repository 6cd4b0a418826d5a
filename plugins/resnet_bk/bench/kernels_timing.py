"""How the kernels' benchmarks take time: processor time of one thread, the least of many, cases in turn."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["COPIED", "copying", "keep_memory", "least", "least_of_each"]

COPIED = 256 << 20


def keep_memory() -> None:
    """Let freed memory stay with the process: page faults of fresh buffers would be measured otherwise."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        library.mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped by itself


def least(function: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for _ in range(repeats):
        started = clock()
        function()
        times.append(clock() - started)
    return min(times)


def least_of_each(cases: Mapping[str, Callable[[], Any]], rounds: int, repeats: int) -> dict[str, float]:
    """The same for several functions in turns, so that a disturbance hits all of them alike."""
    found = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, function in cases.items():
            found[name] = min(found[name], least(function, repeats))
    return found


def copying() -> Callable[[], Any]:
    """A copy that reads and writes `COPIED` bytes together, too many for any cache."""
    source = torch.ones(COPIED // 8)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)
