"""What a Linux control group leaves this process: CPU quota and memory limit, versions 1 and 2."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.system.host import Host

__all__ = [
    "MemoryLimit",
    "cpu_quota",
    "memory_limit",
    "parse_cpu_max",
    "parse_limit",
    "parse_mounts",
    "parse_own_groups",
    "parse_stat",
]

# Version 1 says "no limit" with the largest multiple of the page size below 2**63 (9223372036854771712 with
# 4 KiB pages). Nobody has an exbibyte, so anything from there up is no limit, whatever the page size.
NO_LIMIT = 1 << 60


@attrs.frozen(kw_only=True)
class MemoryLimit:
    """The tightest memory limit on the way from this process's group to the root.

    Attributes:
        limit: Bytes.
        headroom: Bytes that can still be had before some limit on that way is met, reclaimable file cache
            counted as free.
    """

    limit: int
    headroom: int


@attrs.frozen
class Mount:
    """A mounted cgroup hierarchy: its root within the hierarchy, where it is, and its controllers (v1)."""

    root: str
    point: str
    version: int
    controllers: frozenset[str]


def parse_own_groups(text: str) -> dict[str, str]:
    """Controller -> path of our group, from `/proc/self/cgroup`; version 2's controller is the empty name."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                groups[controller] = parts[2]
    return groups


def parse_mounts(text: str) -> list[Mount]:
    """The cgroup hierarchies in `/proc/self/mountinfo`."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, after = left.split(), right.split()
        if not separator or len(fields) < 5 or len(after) < 3:
            continue
        if after[0] == "cgroup2":
            mounts.append(Mount(_unescape(fields[3]), _unescape(fields[4]), 2, frozenset()))
        elif after[0] == "cgroup":
            options = frozenset(after[2].split(","))
            mounts.append(Mount(_unescape(fields[3]), _unescape(fields[4]), 1, options))
    return mounts


def _unescape(field: str) -> str:
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def parse_limit(text: str | None) -> int | None:
    """Bytes, from `memory.max` or `memory.limit_in_bytes`; None for no limit."""
    if text is None:
        return None
    try:
        value = int(text.strip())
    except ValueError:
        return None
    return value if 0 <= value < NO_LIMIT else None


def parse_cpu_max(text: str | None) -> float | None:
    """CPUs' worth of time, from version 2's `cpu.max`; None for no quota."""
    parts = (text or "").split()
    try:
        quota, period = int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def parse_stat(text: str | None) -> dict[str, int]:
    """`memory.stat` as numbers."""
    stat = {}
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            stat[name] = int(value)
    return stat


def _levels(host: Host, controller: str) -> Iterator[tuple[int, str]]:
    """The directories of our group and its ancestors for a controller, with the version, innermost first."""
    groups = parse_own_groups(host.read("/proc/self/cgroup") or "")
    for mount in parse_mounts(host.read("/proc/self/mountinfo") or ""):
        if mount.version == 1 and controller not in mount.controllers:
            continue
        group = groups.get(controller if mount.version == 1 else "")
        if group is None:
            continue
        inner = _inside(group, mount.root)
        while True:
            yield mount.version, posixpath.normpath(posixpath.join(mount.point, inner.lstrip("/")))
            if inner in {"/", ""}:
                break
            inner = posixpath.dirname(inner)


def _inside(group: str, mount_root: str) -> str:
    """The group's path below the mount point.

    A container without its own cgroup namespace sees the host's path in `/proc/self/cgroup`, while only its
    own part is mounted. A path that starts with `/..` lies outside of our namespace: what we can see is the
    mount point.
    """
    if mount_root != "/":
        if group == mount_root:
            return "/"
        if group.startswith(mount_root.rstrip("/") + "/"):
            return group[len(mount_root.rstrip("/")) :]
        if mount_root.startswith("/.."):
            return group
        return "/"
    return "/" if group.startswith("/..") else posixpath.normpath(group)


def memory_limit(host: Host) -> MemoryLimit | None:
    """The tightest memory limit of our control group and its ancestors; None if there is none."""
    limits: list[int] = []
    headrooms: list[int] = []
    for version, directory in _levels(host, "memory"):
        if version == 2:
            # Above memory.high the kernel throttles and reclaims: nobody wants to run a model there.
            found = [parse_limit(host.read(f"{directory}/{name}")) for name in ("memory.max", "memory.high")]
            current = parse_limit(host.read(f"{directory}/memory.current"))
            cache_key = "inactive_file"
        else:
            found = [parse_limit(host.read(f"{directory}/memory.limit_in_bytes"))]
            current = parse_limit(host.read(f"{directory}/memory.usage_in_bytes"))
            cache_key = "total_inactive_file"
        known = [value for value in found if value is not None]
        if not known:
            continue
        limit = min(known)
        limits.append(limit)
        reclaimable = parse_stat(host.read(f"{directory}/memory.stat")).get(cache_key, 0)
        headrooms.append(min(limit, max(0, limit - (current or 0) + reclaimable)))
    return MemoryLimit(limit=min(limits), headroom=min(headrooms)) if limits else None


def cpu_quota(host: Host) -> float | None:
    """How many CPUs' worth of time our control group and its ancestors allow; None if there is no quota."""
    quotas: list[float] = []
    for version, directory in _levels(host, "cpu"):
        if version == 2:
            quota = parse_cpu_max(host.read(f"{directory}/cpu.max"))
        else:
            amount = host.read(f"{directory}/cpu.cfs_quota_us")
            period = host.read(f"{directory}/cpu.cfs_period_us")
            quota = parse_cpu_max(f"{amount} {period}")
        if quota is not None:
            quotas.append(quota)
    return min(quotas) if quotas else None
