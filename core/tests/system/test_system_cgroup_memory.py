"""Main memory is the machine's, cut to what the control group leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelplug.system.cgroup import (
    cpu_quota,
    memory_limit,
    parse_cpu_max,
    parse_limit,
    parse_mounts,
    parse_own_groups,
)
from modelplug.system.memory import parse_meminfo, probe_memory

if TYPE_CHECKING:
    from core.tests.system.conftest import Machine


MIB = 1024 * 1024
GIB = 1024 * MIB
MEMINFO = "MemTotal:       33554432 kB\nMemFree:   1048576 kB\nMemAvailable:   16777216 kB\nHugePages: 0\n"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def test_no_group_leaves_the_machine(machine: Machine) -> None:
    """Without control groups the machine's own numbers stand, in bytes."""
    machine.file("/proc/meminfo", MEMINFO)
    memory = probe_memory(machine.host)
    assert (memory.total, memory.available, memory.limit) == (32 * GIB, 16 * GIB, None)


def test_version_2_limit(machine: Machine) -> None:
    """Version 2's limit is the total, and inactive file cache counts as available."""
    machine.file("/proc/meminfo", MEMINFO)
    machine.file("/proc/self/cgroup", "0::/docker/abc\n").file("/proc/self/mountinfo", V2_MOUNT)
    base = "/sys/fs/cgroup/docker/abc"
    machine.file(f"{base}/memory.max", f"{8 * GIB}\n").file(f"{base}/memory.current", f"{6 * GIB}\n")
    machine.file(f"{base}/memory.stat", f"anon 1\nfile 2\ninactive_file {GIB}\n")
    memory = probe_memory(machine.host)
    assert (memory.total, memory.available, memory.limit) == (8 * GIB, 3 * GIB, 8 * GIB)


def test_a_parent_limits_its_children(machine: Machine) -> None:
    """A limit further up counts, also where the group itself has none or a larger one."""
    machine.file("/proc/meminfo", MEMINFO)
    machine.file("/proc/self/cgroup", "0::/slice/scope/leaf\n").file("/proc/self/mountinfo", V2_MOUNT)
    machine.file("/sys/fs/cgroup/slice/scope/leaf/memory.max", "max\n")
    machine.file("/sys/fs/cgroup/slice/scope/memory.max", f"{12 * GIB}\n")
    machine.file("/sys/fs/cgroup/slice/scope/memory.current", f"{GIB}\n")
    machine.file("/sys/fs/cgroup/slice/memory.max", f"{16 * GIB}\n")
    machine.file("/sys/fs/cgroup/slice/memory.current", f"{15 * GIB}\n")
    limit = memory_limit(machine.host)
    assert limit is not None
    # The neighbours in the slice have used up what the scope alone would allow.
    assert (limit.limit, limit.headroom) == (12 * GIB, GIB)


def test_memory_high_is_a_limit_too(machine: Machine) -> None:
    """The threshold at which the kernel starts to throttle limits like the hard one."""
    machine.file("/proc/self/cgroup", "0::/a\n").file("/proc/self/mountinfo", V2_MOUNT)
    machine.file("/sys/fs/cgroup/a/memory.max", f"{8 * GIB}").file(
        "/sys/fs/cgroup/a/memory.high", f"{4 * GIB}"
    )
    limit = memory_limit(machine.host)
    assert limit is not None
    assert limit.limit == 4 * GIB


def test_version_1_limit(machine: Machine) -> None:
    """Version 1's limit, usage and cache are read from its own files."""
    machine.file("/proc/meminfo", MEMINFO).file("/proc/self/mountinfo", V1_MOUNTS)
    machine.file("/proc/self/cgroup", "4:memory:/lxc/box\n3:cpu,cpuacct:/lxc/box\n1:name=systemd:/\n0::/\n")
    base = "/sys/fs/cgroup/memory/lxc/box"
    machine.file(f"{base}/memory.limit_in_bytes", f"{4 * GIB}\n")
    machine.file(f"{base}/memory.usage_in_bytes", f"{3 * GIB}\n")
    machine.file(f"{base}/memory.stat", f"inactive_file 5\ntotal_inactive_file {GIB}\n")
    machine.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    machine.file("/sys/fs/cgroup/cpu,cpuacct/lxc/box/cpu.cfs_quota_us", "150000\n")
    machine.file("/sys/fs/cgroup/cpu,cpuacct/lxc/box/cpu.cfs_period_us", "100000\n")
    machine.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
    machine.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    memory = probe_memory(machine.host)
    assert (memory.total, memory.available, memory.limit) == (4 * GIB, 2 * GIB, 4 * GIB)
    assert cpu_quota(machine.host) == 1.5


def test_a_container_that_sees_only_its_own_part(machine: Machine) -> None:
    """Where only our own part of the hierarchy is mounted, its mount point is our group."""
    machine.file("/proc/meminfo", MEMINFO)
    machine.file(
        "/proc/self/mountinfo", "36 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    machine.file("/proc/self/cgroup", "4:memory:/docker/abc/inner\n")
    machine.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2 * GIB}\n")
    machine.file("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n")
    limit = memory_limit(machine.host)
    assert limit is not None
    assert limit.limit == 2 * GIB


def test_a_group_outside_of_our_namespace(machine: Machine) -> None:
    """A path that leads out of the namespace stands for the mount point."""
    machine.file("/proc/self/cgroup", "0::/../../other\n").file("/proc/self/mountinfo", V2_MOUNT)
    machine.file("/sys/fs/cgroup/memory.max", f"{GIB}\n").file("/sys/fs/cgroup/cpu.max", "300000 100000\n")
    limit = memory_limit(machine.host)
    assert limit is not None
    assert limit.limit == GIB
    assert cpu_quota(machine.host) == 3.0


def test_a_limit_above_the_machine_is_none(machine: Machine) -> None:
    """A limit that is larger than the machine's memory limits nothing."""
    machine.file("/proc/meminfo", MEMINFO)
    machine.file("/proc/self/cgroup", "0::/\n").file("/proc/self/mountinfo", V2_MOUNT)
    machine.file("/sys/fs/cgroup/memory.max", f"{64 * GIB}\n").file("/sys/fs/cgroup/memory.current", "0\n")
    assert probe_memory(machine.host).limit is None


def test_usage_above_the_limit_leaves_nothing(machine: Machine) -> None:
    """A group that uses more than it may has nothing available, not less than nothing."""
    machine.file("/proc/meminfo", MEMINFO)
    machine.file("/proc/self/cgroup", "0::/\n").file("/proc/self/mountinfo", V2_MOUNT)
    machine.file("/sys/fs/cgroup/memory.max", f"{GIB}\n").file(
        "/sys/fs/cgroup/memory.current", f"{2 * GIB}\n"
    )
    assert probe_memory(machine.host).available == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max\n", None),
        ("9223372036854771712\n", None),
        ("9223372036854710272", None),  # the same with 64 KiB pages
        ("-1", None),
        ("", None),
        (None, None),
        ("1073741824\n", GIB),
        ("0", 0),
    ],
)
def test_parse_limit(text: str | None, expected: int | None) -> None:
    """Every way of saying "no limit" is None."""
    assert parse_limit(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", None), ("200000 100000", 2.0), ("-1 100000", None), ("5", None), (None, None)],
)
def test_parse_cpu_max(text: str | None, expected: float | None) -> None:
    """A quota is its share of a period; no quota and nonsense are None."""
    assert parse_cpu_max(text) == expected


def test_parsers_stand_garbage() -> None:
    """Lines of another shape are passed over."""
    assert parse_own_groups("nonsense\n\n0::/x\n") == {"": "/x"}
    assert parse_mounts("a b c\n - \n1 2 3 4 5 - cgroup2\n") == []
    assert parse_meminfo("MemTotal\nx: y\nMemTotal: 2 kB\n") == {"MemTotal": 2048}


def test_mount_points_with_spaces() -> None:
    """The octal escapes of mountinfo are undone."""
    (mount,) = parse_mounts("30 23 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n")
    assert mount.point == "/mnt/my groups"
