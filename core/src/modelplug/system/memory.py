"""Main memory: what the machine has, and what is left for this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.system.cgroup import memory_limit
from modelplug.system.info import MemoryInfo

if TYPE_CHECKING:
    from modelplug.system.host import Host

__all__ = ["parse_meminfo", "probe_memory"]


def probe_memory(host: Host, bandwidth: float | None = None) -> MemoryInfo:
    """Main memory in bytes, with the control group's limit applied.

    Args:
        host: Where to look.
        bandwidth: Bytes per second, if it was measured.
    """
    total, available = _machine_memory(host)
    limit = memory_limit(host) if host.os == "linux" else None
    if limit is not None and limit.limit < total:
        return MemoryInfo(
            total=limit.limit,
            available=min(available, limit.headroom),
            limit=limit.limit,
            bandwidth=bandwidth,
        )
    # A limit above what the machine has limits nothing.
    return MemoryInfo(total=total, available=available, limit=None, bandwidth=bandwidth)


def _machine_memory(host: Host) -> tuple[int, int]:
    if host.os == "linux":
        # The same numbers as psutil's, without the time it takes to import it.
        values = parse_meminfo(host.read("/proc/meminfo") or "")
        total, available = values.get("MemTotal"), values.get("MemAvailable")
        if total and available is not None:
            return total, available
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def parse_meminfo(text: str) -> dict[str, int]:
    """`/proc/meminfo` in bytes."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split()
        if parts and parts[0].isdigit():
            values[name.strip()] = int(parts[0]) * (1024 if parts[-1] == "kB" else 1)
    return values
