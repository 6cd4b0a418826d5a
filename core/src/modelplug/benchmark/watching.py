"""Watches a worker from outside: its memory, and who else uses the processors."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.backends.process import WorkerProcess

__all__ = ["MemoryWatch", "ProcessorShare", "members_of", "yardstick"]

PERIOD_SECONDS = 0.1
_YARD = bytes(1 << 20)


def members_of(worker: WorkerProcess) -> list[int]:
    """Process ids of a worker and of the programs it has started; empty once it has ended.

    A child with the worker's own command line is a forked copy, such as the guard that ends the worker with
    its host: it shares the worker's memory, and would be counted twice.

    Args:
        worker: The worker.
    """
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(worker.pid)
        command = process.cmdline()
        found.append(worker.pid)
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.cmdline() != command:
                    found.append(child.pid)
    return found


class MemoryWatch:
    """Samples the main memory of a worker and what it has started, until it is finished.

    Where the system remembers the peak of a process (Linux, Windows), no peak between two samples is missed.

    Args:
        worker: The worker.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._members = members_of(worker)
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-watch", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(PERIOD_SECONDS):
            self._peak = max(self._peak, sum(map(_resident, self._members)))

    def finish(self) -> int:
        """Stop, and give the most bytes that were held at a time."""
        if not self._ended.is_set():
            # Looking for what the worker has started means reading every process, so it is done twice only.
            members = members_of(self._worker)
            self._peak = max(self._peak, sum(map(_resident, members)), *map(_remembered, members), 0)
        self.stop()
        return self._peak

    def stop(self) -> None:
        """Stop without a last look, because the worker has gone; calling it again changes nothing."""
        self._ended.set()
        self._thread.join()


def _resident(pid: int) -> int:
    import psutil

    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _remembered(pid: int) -> int:
    """The peak that the system itself has kept for a process; 0 where it keeps none."""
    import psutil

    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{pid}/status").read_text("utf-8")
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    with contextlib.suppress(psutil.Error):
        return int(getattr(psutil.Process(pid).memory_info(), "peak_wset", 0))
    return 0


class ProcessorShare:
    """Tells which share of the processors other programs used between its beginning and now.

    Args:
        worker: The worker, whose own use does not count, like that of this process.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._members = members_of(worker)
        self._began = time.monotonic()
        self._machine, self._ours = _machine_seconds(), self._own_seconds()

    def others(self) -> float | None:
        """From 0 to 1 of all processors; None where too little time has passed to tell."""
        import psutil

        passed = time.monotonic() - self._began
        processors = psutil.cpu_count() or 1
        # The counters move in steps of 10 ms for each processor.
        if passed < 0.2:
            return None
        used = (_machine_seconds() - self._machine) - (self._own_seconds() - self._ours)
        return min(1.0, max(0.0, used / (passed * processors)))

    def _own_seconds(self) -> float:
        import psutil

        total = time.process_time()
        for pid in self._members:
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total


def _machine_seconds() -> float:
    """Seconds that the processors have worked, or were given to other guests of the same host."""
    import psutil

    times = psutil.cpu_times()._asdict()
    # Time of guests is part of `user` and `nice` already.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(seconds for name, seconds in times.items() if name not in idle))


def yardstick() -> float:
    """Seconds for a fixed piece of work: hashing a mebibyte, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        hashlib.sha256(_YARD).digest()
        best = min(best, time.perf_counter() - began)
    return best
