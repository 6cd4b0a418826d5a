"""The processor is read from recorded files, and the usable cores respect affinity and quota."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from modelplug.system.cpu import (
    macos_features,
    parse_cpuinfo_cores,
    parse_cpuinfo_features,
    parse_cpuinfo_model,
    parse_sysctl,
    probe_cpu,
    usable_cores,
)
from modelplug.system.windows import features_of

if TYPE_CHECKING:
    from core.tests.system.conftest import Machine


Recorded = Callable[[str], str]


@pytest.mark.parametrize(
    ("file", "model", "cores", "has", "lacks"),
    [
        ("amd_epyc_vm", "AMD EPYC", 2, {"avx2", "fma", "f16c", "avx512f", "avx512_vnni"}, {"neon", "sse"}),
        ("intel_hyperthreads", "Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz", 2, {"avx2", "sse3"}, {"avx512f"}),
        ("arm_neoverse", "ARM Neoverse-N1", None, {"neon", "dotprod", "fp16"}, {"i8mm", "sve", "avx"}),
        ("arm_big_little", "ARM Cortex-A55 + ARM Cortex-A76", None, {"neon", "dotprod"}, {"i8mm", "bf16"}),
    ],
)
def test_cpuinfo(
    recorded: Recorded, file: str, model: str, cores: int | None, has: set[str], lacks: set[str]
) -> None:
    """Name, physical cores and the instruction sets common to all cores are read from /proc/cpuinfo."""
    text = recorded(f"cpu/{file}.txt")
    features = parse_cpuinfo_features(text)
    assert parse_cpuinfo_model(text) == model
    assert parse_cpuinfo_cores(text) == cores
    assert has <= features
    assert not lacks & features


@pytest.mark.parametrize("text", ["", "garbage", ":::\n\n:\n", "processor : 0\n"])
def test_cpuinfo_without_sense_is_unknown(text: str) -> None:
    """A file that says nothing gives no name, no cores and no features, and no exception."""
    assert parse_cpuinfo_model(text) == ""
    assert parse_cpuinfo_cores(text) is None
    assert parse_cpuinfo_features(text) == frozenset()


def test_sysctl_on_apple_silicon(recorded: Recorded) -> None:
    """Apple silicon's name and features come from sysctl; a feature that is 0 is not there."""
    values = parse_sysctl(recorded("cpu/sysctl_m2.txt"))
    assert values["machdep.cpu.brand_string"] == "Apple M2 Pro"
    assert macos_features(values) == {"neon", "fp16", "dotprod", "i8mm", "bf16"}


def test_sysctl_on_an_intel_mac(recorded: Recorded) -> None:
    """Apple's spelling of Intel's features becomes the common one."""
    features = macos_features(parse_sysctl(recorded("cpu/sysctl_intel_mac.txt")))
    assert {"sse3", "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c"} <= features
    assert "neon" not in features


def test_a_mac_is_probed_through_sysctl(machine: Machine) -> None:
    """On macOS name and physical cores come from what sysctl prints, even if it exits with 1."""
    machine.os = "darwin"
    machine.printer("sysctl", "cpu/sysctl_m2.txt")
    machine.tool("sysctl", (machine.bin / "sysctl").read_text().removeprefix("#!/bin/sh\n") + "exit 1")
    cpu = probe_cpu(machine.host)
    assert (cpu.model, cpu.physical_cores) == ("Apple M2 Pro", 10)


def test_windows_features() -> None:
    """Windows' AVX2 answer stands for FMA and F16C as well, its absence for neither."""
    assert features_of(frozenset({10, 39, 40})) == {"sse2", "avx", "avx2", "fma", "f16c"}
    assert features_of(frozenset({10, 39})) == {"sse2", "avx"}


def test_physical_cores_from_topology(machine: Machine, recorded: Recorded) -> None:
    """Where /proc/cpuinfo has no core ids, the topology files are counted."""
    machine.file("/proc/cpuinfo", recorded("cpu/arm_neoverse.txt"))
    for number, core in enumerate((0, 0, 1, 1)):
        machine.file(f"/sys/devices/system/cpu/cpu{number}/topology/core_id", f"{core}\n")
        machine.file(f"/sys/devices/system/cpu/cpu{number}/topology/physical_package_id", "0\n")
    assert probe_cpu(machine.host).physical_cores == 2


def test_the_board_names_an_unknown_processor(machine: Machine) -> None:
    """A processor without a name is called after the board, and a machine without either is unknown."""
    assert probe_cpu(machine.host).model == "unknown x86_64 processor"
    machine.file("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert probe_cpu(machine.host).model == "Raspberry Pi 4 Model B Rev 1.4"


@pytest.mark.parametrize(
    ("cpu_max", "expected"), [("max 100000", None), ("250000 100000", 2), ("50000 100000", 1), ("oops", None)]
)
def test_the_quota_limits_usable_cores(machine: Machine, cpu_max: str, expected: int | None) -> None:
    """A cgroup quota of 2.5 CPUs leaves 2 usable cores, half a CPU leaves 1, no quota leaves affinity's."""
    machine.file("/proc/self/cgroup", "0::/job\n")
    machine.file("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    machine.file("/sys/fs/cgroup/job/cpu.max", cpu_max)
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    assert usable_cores(machine.host, 64) == (affinity if expected is None else min(affinity, expected))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can pin a process")
def test_affinity_limits_usable_cores(machine: Machine) -> None:
    """A process pinned to one core has one usable core."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores(machine.host, 64) == 1
    finally:
        os.sched_setaffinity(0, before)
