"""How fast this machine reads main memory, measured once and remembered.

What is measured: several threads, each with its own buffer that it filled itself, let the C library's
`memchr` look for a byte that isn't there. That reads every byte and writes none, as an engine does with a
model's weights while generating. The result is the best of three rounds, in bytes read per second over all
threads.

What it is not: the hardware's limit. At most 16 threads and 256 MiB are used, so a large server can do
better; and where all of the third-level cache is larger than the buffers, the figure may be the cache's
(then `cache_suspected` is set).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import ModelplugError
from modelplug.system.host import Host

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    from modelplug.system.info import CpuInfo, MemoryInfo

__all__ = ["Bandwidth", "cache_key", "default_cache_file", "load_cached", "measure", "store"]

MIB = 1024 * 1024
MAX_BUFFERS = 256 * MIB
MIN_PER_THREAD = 16 * MIB
# The buffers may take an eighth of what is available.
NEEDED = 8 * MIN_PER_THREAD
MAX_THREADS = MAX_BUFFERS // MIN_PER_THREAD
PIECE = 4 * MIB
ROUNDS = 3
FORMAT = 1
MAX_ENTRIES = 16
FILLER, ABSENT = 1, 2


@attrs.frozen(kw_only=True)
class Bandwidth:
    """A measured read bandwidth and how it was measured.

    Attributes:
        bytes_per_second: Bytes read per second over all threads, the best of the rounds.
        threads: Threads that read at the same time.
        buffer_bytes: The size of all their buffers together.
        seconds: How long the whole measurement took.
        measured_at: When, UTC, ISO 8601.
        cache_suspected: Whether the processor's caches are large enough to hold the buffers.
    """

    bytes_per_second: float
    threads: int
    buffer_bytes: int
    seconds: float
    measured_at: str
    cache_suspected: bool = False


def measure(cpu: CpuInfo, memory: MemoryInfo, *, host: Host | None = None, seconds: float = 0.9) -> Bandwidth:
    """Measures now.

    Args:
        cpu: Decides the number of threads.
        memory: Decides the size of the buffers: an eighth of what is available, at most 256 MiB.
        host: Where to read the size of the caches; this machine if None.
        seconds: How long to read; filling the buffers comes on top.

    Raises:
        ModelplugError: There is too little memory, or no usable C library.
    """
    import datetime

    budget = min(MAX_BUFFERS, memory.available // 8)
    threads = min(cpu.usable_cores, MAX_THREADS, budget // MIN_PER_THREAD)
    if threads < 1:
        raise ModelplugError(
            "the memory bandwidth can't be measured",
            why=f"{memory.available // MIB} MiB of memory are available, {NEEDED // MIB} MiB are needed",
            advice="Close other programs or raise the container's memory limit, then try again.",
        )
    size = budget // threads // PIECE * PIECE
    started = time.monotonic()
    rate = _Measurement(_memchr(), threads, size, seconds / ROUNDS).run()
    return Bandwidth(
        bytes_per_second=rate,
        threads=threads,
        buffer_bytes=size * threads,
        seconds=round(time.monotonic() - started, 3),
        measured_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        cache_suspected=_last_level_cache(host or Host.current(), cpu.logical_cores) >= size * threads,
    )


def _memchr() -> Any:
    import ctypes

    try:
        library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        function = library.memchr
    except (OSError, AttributeError, TypeError) as error:
        raise ModelplugError(
            "the memory bandwidth can't be measured", why=f"the C library can't be called: {error}"
        ) from error
    function.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    function.restype = ctypes.c_void_p
    return function


class _Measurement:
    """Some threads that read their buffers in rounds they start together."""

    def __init__(self, memchr: Any, threads: int, size: int, seconds: float) -> None:
        self._memchr = memchr
        self._threads = threads
        self._size = size
        self._seconds = seconds
        self._barrier = threading.Barrier(threads)
        # One list of (start, end, bytes) per thread, one entry per round.
        self._spans: list[list[tuple[float, float, int]]] = [[] for _ in range(threads)]
        self._errors: list[BaseException] = []

    def run(self) -> float:
        """The best round's bytes per second."""
        workers = [threading.Thread(target=self._work, args=(number,)) for number in range(self._threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._errors:
            raise ModelplugError(
                "the memory bandwidth can't be measured", why=f"a buffer could not be had: {self._errors[0]}"
            )
        return max(self._rate([spans[index] for spans in self._spans]) for index in range(ROUNDS))

    @staticmethod
    def _rate(spans: Sequence[tuple[float, float, int]]) -> float:
        elapsed = max(end for _, end, _ in spans) - min(start for start, _, _ in spans)
        return sum(count for _, _, count in spans) / elapsed

    def _work(self, number: int) -> None:
        import mmap

        try:
            with mmap.mmap(-1, self._size) as buffer:
                self._read(number, buffer)
        except (OSError, MemoryError, ValueError) as error:
            self._errors.append(error)
            self._barrier.abort()
        except threading.BrokenBarrierError:
            # Another thread failed and has said why.
            return

    def _read(self, number: int, buffer: mmap.mmap) -> None:
        import ctypes

        view = (ctypes.c_char * self._size).from_buffer(buffer)
        try:
            address = ctypes.addressof(view)
            # Untouched pages would all be the kernel's one page of zeros, which lives in the cache.
            ctypes.memset(address, FILLER, self._size)
            for _ in range(ROUNDS):
                self._barrier.wait()
                self._spans[number].append(self._round(address))
        finally:
            # A mapping can't be closed while something points into it.
            del view

    def _round(self, address: int) -> tuple[float, float, int]:
        start = now = time.perf_counter()
        stop, count, offset = start + self._seconds, 0, 0
        while now < stop:
            # ctypes lets other threads run during the call.
            self._memchr(address + offset, ABSENT, PIECE)
            count += PIECE
            offset = (offset + PIECE) % self._size
            now = time.perf_counter()
        return start, now, count


def _last_level_cache(host: Host, logical: int) -> int:
    """Bytes of third-level cache in the machine, assuming all of its parts are equal; 0 if unknown."""
    base = "/sys/devices/system/cpu/cpu0/cache/index3"
    size = (host.read(f"{base}/size") or "").strip()
    shared = (host.read(f"{base}/shared_cpu_list") or "").strip()
    if not size.endswith("K") or not size[:-1].isdigit() or not shared:
        return 0
    sharing = 0
    for part in shared.split(","):
        low, _, high = part.partition("-")
        sharing += int(high or low) - int(low) + 1
    return int(size[:-1]) * 1024 * max(1, -(-logical // sharing))


# Remembering ------------------------------------------------------------------------------------------


def default_cache_file() -> Path:
    """Where measurements are remembered: `bandwidth.json` in modelplug's cache directory."""
    from modelplug.paths import Paths

    return Paths.from_environment().cache / "bandwidth.json"


def cache_key(cpu: CpuInfo, memory: MemoryInfo) -> str:
    """What a measurement belongs to: another processor, core count or memory size needs a new one."""
    return f"{cpu.model} | {cpu.usable_cores} cores | {memory.total} bytes"


def _entries(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Missing, unreadable or damaged: it is a cache, a new measurement replaces it.
        return {}
    if not isinstance(content, dict) or content.get("version") != FORMAT:
        return {}
    entries = content.get("entries")
    return entries if isinstance(entries, dict) else {}


def load_cached(file: Path, key: str) -> Bandwidth | None:
    """The remembered measurement for `key`; None if there is none that makes sense."""
    entry = _entries(file).get(key)
    if not isinstance(entry, dict):
        return None
    try:
        found = Bandwidth(**entry)
    except TypeError:
        return None
    rate: object = found.bytes_per_second
    plausible = type(rate) in {int, float} and 0 < found.bytes_per_second < 1e15
    return found if plausible else None


def store(file: Path, key: str, value: Bandwidth) -> None:
    """Remembers a measurement, atomically: readers see the old file or the new one.

    Raises:
        OSError: The file can't be written.
    """
    import tempfile

    entries = {name: entry for name, entry in _entries(file).items() if name != key}
    kept = list(entries.items())[-(MAX_ENTRIES - 1) :]
    text = json.dumps({"version": FORMAT, "entries": {**dict(kept), key: attrs.asdict(value)}}, indent=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
