"""Inspect mutated model files by the ten thousand and report anything but a proper answer or a proper error.

    python tools/fuzz_inspect.py --count 100000 --seed 1

Every case is a small valid model of some format with random damage. A case fails if inspection raises
anything but a `ModelplugError`, takes over one second, or needs more than 64 MiB. The process's address space
is limited, so that a larger allocation fails at once. Exit code 0 if no case failed, 1 otherwise; failing
inputs are kept.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "core" / "src")]

from core.tests.formats import format_samples  # noqa: E402  found through the path set above

from modelplug.errors import ModelplugError  # noqa: E402  found through the path set above
from modelplug.formats import inspect  # noqa: E402  found through the path set above

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1.0
MOST_MEMORY = 64 << 20
HARD_STOP = 10
INTERESTING = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)
NASTY = (
    b"\xff" * 8,
    b"\0" * 8,
    b"{" * 64,
    b"[" * 64,
    b'"',
    b"\\",
    b"GGUF",
    b"PK\x05\x06",
    b"../",
    b"\x80\x02",
)


class TooSlowError(BaseException):
    """A case ran into the hard time limit; not an `Exception`, so that nothing under test can catch it."""


def flip(data: bytearray, rng: random.Random) -> None:
    """Change a few bits."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[position(data, rng)] ^= 1 << rng.randrange(8)


def scatter(data: bytearray, rng: random.Random) -> None:
    """Replace a few bytes."""
    for _ in range(rng.choice((1, 2, 4, 32))):
        data[position(data, rng)] = rng.randrange(256)


def number(data: bytearray, rng: random.Random) -> None:
    """Put a number in place that is known to cause trouble."""
    value = rng.choice((*INTERESTING, rng.getrandbits(64), len(data), len(data) + 1))
    letter, width = rng.choice((("I", 4), ("Q", 8)))
    at = position(data, rng)
    data[at : at + width] = struct.pack(rng.choice("<>") + letter, value & ((1 << 8 * width) - 1))


def cut(data: bytearray, rng: random.Random) -> None:
    """End the file early."""
    del data[rng.randrange(len(data)) :]


def drop(data: bytearray, rng: random.Random) -> None:
    """Leave out a piece."""
    at = position(data, rng)
    del data[at : at + rng.choice((1, 4, 8, 64))]


def double(data: bytearray, rng: random.Random) -> None:
    """Repeat a piece."""
    at = position(data, rng)
    piece = data[at : at + rng.choice((1, 8, 64, 512))]
    data[at:at] = piece * rng.choice((1, 1, 2, 100))


def insert(data: bytearray, rng: random.Random) -> None:
    """Insert something nasty."""
    at = position(data, rng)
    data[at:at] = rng.choice(NASTY) * rng.choice((1, 1, 100, 2000))


def splice(data: bytearray, rng: random.Random) -> None:
    """Overwrite a piece with one from elsewhere in the file."""
    source, target = position(data, rng), position(data, rng)
    length = rng.choice((4, 8, 32, 256))
    data[target : target + length] = data[source : source + length]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    scatter,
    number,
    number,
    cut,
    drop,
    double,
    insert,
    splice,
)


def position(data: bytearray, rng: random.Random) -> int:
    """A place in the data, more often in its header than in its weights."""
    limit = rng.choice((32, 128, 1024, len(data), len(data)))
    at = rng.randrange(min(limit, len(data)))
    return len(data) - 1 - at if rng.random() < 0.1 else at


def mutate(content: bytes, rng: random.Random) -> bytes:
    """A damaged copy."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    return bytes(data)


class Session:
    """A run over many cases.

    Args:
        seed: Makes the run repeatable.
        directory: Where the damaged files are written; best in memory.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.directory = directory
        self.files = format_samples.single_files()
        self.trees = format_samples.directories()
        self.outcomes: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.slowest = 0.0
        self.peak_growth = 0
        for name, tree in self.trees.items():
            format_samples.write_files(directory / name, tree)
        for name, content in self.files.items():
            path = directory / name
            path.write_bytes(content)
            self._inspect(path)
        for name in self.trees:
            self._inspect(directory / name)
        self.outcomes.clear()

    def run(self, count: int) -> None:
        """Inspect `count` damaged models."""
        names = [*self.files, *self.trees, "llama.gguf", "every.gguf", "every.gguf"]
        before = peak_memory()
        for case in range(count):
            rng = random.Random(f"{self.seed}/{case}")  # noqa: S311  repeatable, not secret
            self._case(case, rng.choice(names), rng)
        self.peak_growth = peak_memory() - before

    def _case(self, case: int, name: str, rng: random.Random) -> None:
        if name in self.files:
            path = target = self.directory / name
            original = self.files[name]
        else:
            path = self.directory / name
            file = rng.choice(sorted(self.trees[name]))
            target = path / file
            original = self.trees[name][file]
        damaged = mutate(original, rng)
        target.write_bytes(damaged)
        started = time.perf_counter()
        fault = self._inspect(path)
        seconds = time.perf_counter() - started
        self.slowest = max(self.slowest, seconds)
        if fault is None and seconds > LONGEST:
            fault = f"took {seconds:.2f} s"
        if fault is not None:
            kept = self.directory.parent / f"fuzz-failure-{self.seed}-{case}-{target.name}"
            kept.write_bytes(damaged)
            self.failures.append({"case": case, "sample": name, "fault": fault, "kept": str(kept)})
        if target is not path:
            target.write_bytes(original)

    def _inspect(self, path: Path) -> str | None:
        """Inspect one path; return what went wrong, if anything."""
        signal.setitimer(signal.ITIMER_REAL, HARD_STOP)
        try:
            info = inspect(path)
            json.dumps(info.metadata, allow_nan=False)
        except ModelplugError as error:
            self.outcomes[type(error).__name__] += 1
            return None
        except TooSlowError:
            return f"did not end within {HARD_STOP} s"
        except Exception:  # noqa: BLE001  finding these is the purpose
            return traceback.format_exc(limit=-4)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.outcomes[f"accepted as {info.format}"] += 1
        return None


def peak_memory() -> int:
    """The most memory this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    """Let no allocation take the address space beyond 64 MiB more than now."""
    status = Path("/proc/self/statm")
    if status.exists():
        now = int(status.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, resource.RLIM_INFINITY))


def _stop(_signal: int, _frame: object) -> None:
    raise TooSlowError


def fuzz(count: int, seed: int, directory: Path) -> Session:
    """Run a session; the address space stays limited afterwards only if `limit_memory` was called."""
    signal.signal(signal.SIGALRM, _stop)
    session = Session(seed, directory)
    session.run(count)
    return session


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = parser.parse_args(arguments)
    memory = Path("/dev/shm")  # noqa: S108  a directory of its own is made in it
    base = Path(tempfile.mkdtemp(prefix="modelplug-fuzz-", dir=memory if memory.is_dir() else None))
    # one session of no cases first, so that the limit does not count imports
    (base / "warm-up").mkdir()
    fuzz(0, options.seed, base / "warm-up")
    limit_memory()
    (base / "files").mkdir()
    started = time.perf_counter()
    session = fuzz(options.count, options.seed, base / "files")
    summary = {
        "cases": options.count,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "slowest_ms": round(session.slowest * 1000, 1),
        "peak_memory_growth_mib": round(session.peak_growth / (1 << 20), 1),
        "outcomes": dict(session.outcomes.most_common()),
        "failures": session.failures[:20],
        "failed": len(session.failures),
    }
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        for key, value in summary.items():
            print(f"{key}: {value}")
    if not session.failures:
        shutil.rmtree(base)
    return 1 if session.failures else 0


if __name__ == "__main__":
    sys.exit(main())
