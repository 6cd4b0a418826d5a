"""What this machine is: processor, memory, accelerators, and how fast it reads memory.

`probe()` gives all of it as a `SystemInfo`. Nothing is remembered between calls but the measured memory
bandwidth, in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.system.host import Host
from modelplug.system.info import CpuInfo, Device, MemoryInfo, ProbeOutcome, SystemInfo

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.system.bandwidth import Bandwidth

__all__ = [
    "CpuInfo",
    "Device",
    "Host",
    "MemoryInfo",
    "ProbeOutcome",
    "SystemInfo",
    "measure_bandwidth",
    "probe",
]


def probe(
    *,
    deep: bool = False,
    deadline: float = 5.0,
    use_cache: bool = True,
    host: Host | None = None,
    cache_file: Path | None = None,
) -> SystemInfo:
    """The machine at this moment, with one outcome for every probe that ran; never raises for a broken tool.

    The quick probe starts no process where there is no sign of a GPU driver.

    Args:
        deep: Also look through Vulkan, and measure the memory bandwidth if that was never done.
        deadline: Seconds for each GPU probe; they run at the same time.
        use_cache: Whether a remembered memory bandwidth may be used. If False, a deep probe measures anew.
        host: Where to look; this machine if None.
        cache_file: Where the bandwidth is remembered; modelplug's cache directory if None.
    """
    from modelplug.system.describe_os import os_version, python_version

    host = host or Host.current()
    sysctl = _sysctl(host)
    cpu, memory = _cpu_and_memory(host, sysctl, cache_file, use_cache=use_cache)
    devices, outcomes = _accelerators(host, memory, sysctl, deep=deep, deadline=deadline)
    if deep and memory.bandwidth is None:
        memory, outcome = _with_bandwidth(host, cpu, memory, cache_file)
        outcomes.append(outcome)
    return SystemInfo(
        os=host.os,
        os_version=os_version(host),
        python=python_version(),
        cpu=cpu,
        memory=memory,
        devices=devices,
        probes=tuple(outcomes),
    )


def measure_bandwidth(
    *,
    system: SystemInfo | None = None,
    cache_file: Path | None = None,
    use_cache: bool = True,
) -> Bandwidth:
    """How fast this machine reads main memory: remembered, or else measured now in about a second.

    Args:
        system: A fresh `probe()`, if there is one already.
        cache_file: Where it is remembered; modelplug's cache directory if None.
        use_cache: If False, measure anew and replace what is remembered.

    Raises:
        ModelplugError: It can't be measured, with the reason.
    """
    from modelplug.system import bandwidth

    host = Host.current()
    if system is None:
        cpu, memory = _cpu_and_memory(host, _sysctl(host), cache_file, use_cache=use_cache)
    else:
        cpu, memory = system.cpu, system.memory
    file = cache_file or bandwidth.default_cache_file()
    key = bandwidth.cache_key(cpu, memory)
    cached = bandwidth.load_cached(file, key) if use_cache else None
    if cached is not None:
        return cached
    measured = bandwidth.measure(cpu, memory, host=host)
    try:
        bandwidth.store(file, key, measured)
    except OSError as error:
        import warnings

        warnings.warn(f"the memory bandwidth can't be remembered in {file}: {error}", stacklevel=2)
    return measured


def _sysctl(host: Host) -> dict[str, str]:
    if host.os != "darwin":
        return {}
    from modelplug.system.cpu import macos_sysctl

    return macos_sysctl(host)


def _cpu_and_memory(
    host: Host, sysctl: dict[str, str], cache_file: Path | None, *, use_cache: bool
) -> tuple[CpuInfo, MemoryInfo]:
    import attrs

    from modelplug.system.cpu import probe_cpu
    from modelplug.system.memory import probe_memory

    cpu, memory = probe_cpu(host, sysctl), probe_memory(host)
    if use_cache:
        from modelplug.system import bandwidth

        file = cache_file or bandwidth.default_cache_file()
        cached = bandwidth.load_cached(file, bandwidth.cache_key(cpu, memory))
        if cached is not None:
            memory = attrs.evolve(memory, bandwidth=cached.bytes_per_second)
    return cpu, memory


def _accelerators(
    host: Host, memory: MemoryInfo, sysctl: dict[str, str], *, deep: bool, deadline: float
) -> tuple[tuple[Device, ...], list[ProbeOutcome]]:
    from functools import partial

    from modelplug.system.amd import probe_amd
    from modelplug.system.apple import probe_apple
    from modelplug.system.nvidia import probe_nvidia
    from modelplug.system.probing import Found, run_probes
    from modelplug.system.vulkan import merge_devices, probe_vulkan

    probes: dict[str, partial[Found]] = {
        "nvidia": partial(probe_nvidia, host, deadline=deadline),
        "amd": partial(probe_amd, host, deadline=deadline),
        "apple": partial(
            probe_apple, host, deep=deep, deadline=deadline, sysctl=sysctl, available=memory.available
        ),
    }
    if deep:
        probes["vulkan"] = partial(probe_vulkan, host, deadline=deadline)
    results = run_probes(probes, deadline=deadline)
    known = [device for name, result in results.items() if name != "vulkan" for device in result[0]]
    devices = merge_devices(known, results["vulkan"][0] if deep else ())
    return devices, [outcome for _, outcome in results.values()]


def _with_bandwidth(
    host: Host, cpu: CpuInfo, memory: MemoryInfo, cache_file: Path | None
) -> tuple[MemoryInfo, ProbeOutcome]:
    import time

    import attrs

    from modelplug.errors import ModelplugError
    from modelplug.system import bandwidth

    started = time.monotonic()
    try:
        measured = bandwidth.measure(cpu, memory, host=host)
    except ModelplugError as error:
        detail = error.why or error.what
        return memory, ProbeOutcome(
            name="bandwidth", state="failed", detail=detail, seconds=time.monotonic() - started
        )
    detail = f"{measured.threads} threads read {measured.buffer_bytes // 2**20} MiB of buffers"
    if measured.cache_suspected:
        detail += "; the caches could hold them, so this may be faster than main memory"
    file = cache_file or bandwidth.default_cache_file()
    try:
        bandwidth.store(file, bandwidth.cache_key(cpu, memory), measured)
    except OSError as error:
        detail += f"; not remembered: {error}"
    outcome = ProbeOutcome(
        name="bandwidth", state="ok", detail=detail, seconds=round(time.monotonic() - started, 4)
    )
    return attrs.evolve(memory, bandwidth=measured.bytes_per_second), outcome
