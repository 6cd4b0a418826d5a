"""The processor: its name, its cores and what it can execute."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from modelplug.system.cgroup import cpu_quota
from modelplug.system.child import run_child
from modelplug.system.cpu_names import ARM_FEATURES, MACOS_ARM_FEATURES, X86_FEATURES, X86_PREFIXES, arm_name
from modelplug.system.info import CpuInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.system.host import Host

__all__ = [
    "parse_cpuinfo_cores",
    "parse_cpuinfo_features",
    "parse_cpuinfo_model",
    "parse_sysctl",
    "probe_cpu",
]


def probe_cpu(host: Host, sysctl: dict[str, str] | None = None) -> CpuInfo:
    """The processor of this machine, and how many threads are worth starting on it.

    Args:
        host: Where to look.
        sysctl: On macOS, what `macos_sysctl` returned.
    """
    logical = os.cpu_count() or 1
    model, physical, features = "", None, frozenset[str]()
    if host.os == "linux":
        text = host.read("/proc/cpuinfo") or ""
        model = parse_cpuinfo_model(text) or _device_tree_model(host)
        physical = parse_cpuinfo_cores(text) or _topology_cores(host)
        features = parse_cpuinfo_features(text)
    elif host.os == "darwin":
        values = sysctl if sysctl is not None else macos_sysctl(host)
        model = values.get("machdep.cpu.brand_string", "")
        physical = _number(values.get("hw.physicalcpu"))
        features = macos_features(values)
    elif host.os == "windows":
        from modelplug.system.windows import processor_features, processor_name

        model, features = processor_name(), processor_features()
    if physical is None:
        physical = _psutil_cores()
    return CpuInfo(
        model=model or f"unknown {host.architecture} processor",
        architecture=host.architecture,
        physical_cores=physical,
        logical_cores=logical,
        usable_cores=usable_cores(host, logical),
        instruction_sets=features,
    )


def usable_cores(host: Host, logical: int) -> int:
    """Threads worth starting: what affinity, the cgroup quota and the machine allow, at least 1.

    A quota of 2.5 CPUs counts as 2: an engine whose third thread is paused for half of the time makes the
    other two wait for it.
    """
    limits = [logical]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    if host.os == "linux":
        quota = cpu_quota(host)
        if quota is not None:
            limits.append(math.floor(quota))
    return max(1, min(limits))


def _psutil_cores() -> int | None:
    import psutil

    count = psutil.cpu_count(logical=False)
    return None if count is None else int(count)


def _blocks(text: str) -> Iterable[dict[str, str]]:
    """The paragraphs of `/proc/cpuinfo`: one per processor, and on ARM a last one about the board."""
    block: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            block[key.strip()] = value.strip()
        elif not line.strip() and block:
            yield block
            block = {}
    if block:
        yield block


def parse_cpuinfo_model(text: str) -> str:
    """The processor's name in `/proc/cpuinfo`, several joined with ` + `; empty if unknown."""
    names: list[str] = []
    fallback = ""
    for block in _blocks(text):
        name = block.get("model name", "")
        if "CPU part" in block:
            name = arm_name(block.get("CPU implementer", ""), block["CPU part"]) or name
        if name and name not in names:
            names.append(" ".join(name.split()))
        fallback = fallback or block.get("cpu", "") or block.get("Hardware", "")
    return " + ".join(dict.fromkeys(names)) or fallback


def parse_cpuinfo_cores(text: str) -> int | None:
    """Physical cores according to `/proc/cpuinfo`; None if it does not say (ARM)."""
    cores = {
        (block.get("physical id", "0"), block["core id"]) for block in _blocks(text) if "core id" in block
    }
    return len(cores) or None


def parse_cpuinfo_features(text: str) -> frozenset[str]:
    """The instruction sets that every processor in `/proc/cpuinfo` has, under one name each."""
    common: frozenset[str] | None = None
    previous = None
    for block in _blocks(text):
        flags = block.get("flags") or block.get("Features")
        if flags is None or flags == previous:
            continue
        previous = flags
        named = _named(flags.split(), arm="Features" in block)
        common = named if common is None else common & named
    return common or frozenset()


def _named(flags: Iterable[str], *, arm: bool) -> frozenset[str]:
    if arm:
        return frozenset(ARM_FEATURES[flag] for flag in flags if flag in ARM_FEATURES)
    return frozenset(
        X86_FEATURES.get(flag, flag)
        for flag in flags
        if flag in X86_FEATURES or flag.startswith(X86_PREFIXES)
    )


def _device_tree_model(host: Host) -> str:
    return (host.read("/proc/device-tree/model") or "").strip("\0 \n")


def _topology_cores(host: Host) -> int | None:
    cores = set()
    for directory in host.glob("/sys/devices/system/cpu", "cpu[0-9]*"):
        base = f"/sys/devices/system/cpu/{directory.name}/topology"
        core = host.read(f"{base}/core_id")
        if core is not None:
            cores.add(((host.read(f"{base}/physical_package_id") or "0").strip(), core.strip()))
    return len(cores) or None


# macOS ------------------------------------------------------------------------------------------------


def macos_sysctl(host: Host, deadline: float = 2.0) -> dict[str, str]:
    """What macOS says about its hardware, as name -> value; empty if `sysctl` can't be run."""
    tool = host.which("sysctl", "/usr/sbin/sysctl")
    if tool is None:
        return {}
    result = run_child([tool, "machdep.cpu", "hw", "iogpu"], deadline=deadline, environ=host.environ)
    # A name this macOS does not know makes the exit status 1, while the others are still printed.
    return parse_sysctl(result.stdout)


def parse_sysctl(text: str) -> dict[str, str]:
    """The output of `sysctl NAME...` as name -> value."""
    values = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator and " " not in name.strip():
            values[name.strip()] = value.strip()
    return values


def macos_features(values: dict[str, str]) -> frozenset[str]:
    """The instruction sets in the output of `sysctl`, on Apple silicon as on Intel."""
    intel = " ".join(
        values.get(name, "") for name in ("machdep.cpu.features", "machdep.cpu.leaf7_features")
    ).split()
    translated = {flag.lower().replace(".", "_") for flag in intel}
    if "avx1_0" in translated:
        translated.add("avx")
    features = set(_named(translated, arm=False))
    for name, feature in MACOS_ARM_FEATURES.items():
        if values.get(name) == "1":
            features.add(feature)
    return frozenset(features)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
