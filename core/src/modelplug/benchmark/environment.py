"""What a reader must know of the machine to believe a figure: hardware, versions, and its state meanwhile."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.benchmark.records import Environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.backends.types import BackendReport
    from modelplug.system import Host
    from modelplug.system.info import SystemInfo

__all__ = ["describe_differences", "observe", "with_load_after"]

_GOVERNORS = "/sys/devices/system/cpu"
_NO_TURBO = "/sys/devices/system/cpu/intel_pstate/no_turbo"
_BOOST = "/sys/devices/system/cpu/cpufreq/boost"
_GIB = 2**30


def observe(system: SystemInfo, reports: Iterable[BackendReport], host: Host) -> Environment:
    """The environment at this moment.

    Args:
        system: The machine.
        reports: The backends that take part.
        host: Where to look for what `system` does not say.
    """
    hardware: dict[str, Any] = {
        "cpu": system.cpu.model,
        "architecture": system.cpu.architecture,
        "physical_cores": system.cpu.physical_cores,
        "logical_cores": system.cpu.logical_cores,
        "usable_cores": system.cpu.usable_cores,
        # What is left after the firmware's share differs a little from start to start.
        "memory_total": round(system.memory.total / _GIB) * _GIB,
        "devices": [
            {"id": d.id, "name": d.name, "memory_total": d.memory_total, "driver": d.driver}
            for d in system.visible_devices
        ],
    }
    return Environment(
        machine=_fingerprint(hardware),
        cpu=system.cpu.model,
        architecture=system.cpu.architecture,
        physical_cores=system.cpu.physical_cores,
        logical_cores=system.cpu.logical_cores,
        usable_cores=system.cpu.usable_cores,
        memory_total=system.memory.total,
        devices=tuple(hardware["devices"]),
        os=system.os_version or system.os,
        python=system.python,
        modelplug=__version__,
        packages=_packages(reports),
        governors=_governors(host),
        boost=_boost(host),
        on_battery=_on_battery(),
        load_before=_system_load(),
    )


def _fingerprint(hardware: dict[str, Any]) -> str:
    # A new driver is no new machine; it is told as a difference of its own.
    devices = [{**device, "driver": None} for device in hardware["devices"]]
    text = json.dumps({**hardware, "devices": devices}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _packages(reports: Iterable[BackendReport]) -> dict[str, str]:
    """Versions of the plugins and engines that take part, by the names people know."""
    found = {}
    for report in reports:
        name, _, version = report.distribution.rpartition(" ")
        if name:
            found[name] = version
        if report.version:
            found[report.engine] = report.version
    return dict(sorted(found.items()))


def _system_load() -> float | None:
    """Processes that wanted to run, averaged over the last minute; None where the system does not say."""
    import psutil

    try:
        return round(psutil.getloadavg()[0], 2)
    except OSError:
        return None


def _governors(host: Host) -> tuple[str, ...]:
    folders = host.glob(_GOVERNORS, "cpu[0-9]*")
    names = (host.read(f"{_GOVERNORS}/{folder.name}/cpufreq/scaling_governor") for folder in folders)
    # A processor that is switched off has none.
    return tuple(sorted({name.strip() for name in names if name and name.strip()}))


def _boost(host: Host) -> bool | None:
    no_turbo = (host.read(_NO_TURBO) or "").strip()
    if no_turbo:
        return no_turbo == "0"
    boost = (host.read(_BOOST) or "").strip()
    return boost == "1" if boost else None


def _on_battery() -> bool | None:
    import psutil

    sensor = getattr(psutil, "sensors_battery", None)
    try:
        battery = sensor() if sensor is not None else None
    except (OSError, RuntimeError):
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def describe_differences(base: Environment, new: Environment) -> tuple[str, ...]:
    """What differs between two environments, in sentences; the machine first.

    Args:
        base: The environment of the baseline.
        new: That of the new measurement.
    """
    sentences = []
    if not base.machine:
        sentences.append("The baseline does not say on which machine it was measured.")
    elif base.machine != new.machine:
        sentences.append(
            f"The baseline comes from another machine: {_machine(base)}; the new figures are from "
            f"{_machine(new)}."
        )
    for name, what in _STATES.items():
        before, after = getattr(base, name), getattr(new, name)
        unknown = (None, "", ())
        if before != after and before not in unknown and after not in unknown:
            sentences.append(f"{what} was {_shown(before)} and is now {_shown(after)}.")
    for package in sorted({*base.packages, *new.packages}):
        old, now = base.packages.get(package), new.packages.get(package)
        if old is not None and now is not None and old != now:
            sentences.append(f"{package} was {old} and is now {now}.")
    drivers = [{d.get("id"): d.get("driver") for d in e.devices} for e in (base, new)]
    sentences += (
        f"The driver of {device} was {drivers[0][device]} and is now {drivers[1][device]}."
        for device in sorted(drivers[0].keys() & drivers[1].keys(), key=str)
        if drivers[0][device] != drivers[1][device]
    )
    return tuple(sentences)


_STATES = {
    "os": "The operating system",
    "python": "Python",
    "modelplug": "modelplug",
    "governors": "The processor's frequency governor",
    "boost": "The processor's boost",
    "on_battery": "Running on battery",
}


def _machine(environment: Environment) -> str:
    memory = f"{environment.memory_total / _GIB:.0f} GiB"
    devices = "".join(f", {device.get('name')}" for device in environment.devices)
    return f"{environment.cpu}, {environment.usable_cores} usable cores, {memory}{devices}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def with_load_after(environment: Environment) -> Environment:
    """The environment with the load of this moment as the one at the end."""
    return attrs.evolve(environment, load_after=_system_load())
