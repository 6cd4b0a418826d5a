"""Which process is meant: its number alone is given to another one as soon as it has ended."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

__all__ = ["started_at"]


def started_at(pid: int) -> str:
    """What tells a process from every other one that ever has its number; empty if there is none.

    On Linux it is the kernel's own count since it was booted, which setting the clock does not change.

    Args:
        pid: Its number.
    """
    return _on_linux(pid) if sys.platform == "linux" else _elsewhere(pid)


def _on_linux(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        state, ticks = fields[0], fields[19].decode()
    except (OSError, IndexError):
        return ""
    return "" if state in (b"Z", b"X") else f"{_boot()}:{ticks}"


def _elsewhere(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        # A sandbox may hide it; the numbers of one boot are still told apart.
        return ""
