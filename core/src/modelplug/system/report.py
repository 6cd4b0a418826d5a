"""The machine in words, and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.system.info import CpuInfo, SystemInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.system.info import Device, MemoryInfo

__all__ = ["describe", "describe_device", "format_bytes", "from_dict", "to_dict"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def format_bytes(count: float) -> str:
    """An amount of memory with its binary unit, for example `23.5 GiB`."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def describe(system: SystemInfo) -> list[tuple[str, str]]:
    """The machine as (label, text) lines for people; each accelerator has a line of its own.

    Args:
        system: What `probe()` returned.
    """
    lines = [
        ("System", system.os_version or system.os),
        ("Python", system.python),
        ("Processor", f"{system.cpu.model} ({system.cpu.architecture})"),
        ("Cores", _cores(system.cpu)),
        ("Instruction sets", ", ".join(sorted(system.cpu.instruction_sets)) or "unknown"),
        ("Memory", _memory(system.memory)),
        ("Memory bandwidth", _bandwidth(system.memory)),
    ]
    if system.devices:
        lines.extend((f"GPU {device.id}", describe_device(device)) for device in system.devices)
    else:
        lines.append(("GPU", "none found"))
    for outcome in system.probes:
        detail = f": {outcome.detail}" if outcome.detail else ""
        lines.append((f"Probe {outcome.name}", f"{outcome.state}{detail} ({outcome.seconds:.2f} s)"))
    return lines


def describe_device(device: Device) -> str:
    """One accelerator on one line: name, memory, driver, and what to know about it."""
    parts = [device.name]
    if device.memory_total is None:
        parts.append("memory unknown")
    elif device.memory_free is None:
        parts.append(f"{format_bytes(device.memory_total)} of memory, free memory unknown")
    else:
        parts.append(f"{format_bytes(device.memory_free)} free of {format_bytes(device.memory_total)}")
    if device.unified_memory:
        parts.append("shares main memory")
    if device.driver:
        parts.append(f"driver {device.driver}")
    if device.compute_capability:
        parts.append(f"compute capability {device.compute_capability}")
    if not device.visible:
        parts.append("not visible to programs started now")
    return ", ".join(parts) + "".join(f"; {note}" for note in device.notes)


def _cores(cpu: CpuInfo) -> str:
    physical = "unknown physical" if cpu.physical_cores is None else f"{cpu.physical_cores} physical"
    return f"{physical}, {cpu.logical_cores} logical, {cpu.usable_cores} usable by this process"


def _memory(memory: MemoryInfo) -> str:
    text = f"{format_bytes(memory.available)} available of {format_bytes(memory.total)}"
    return text if memory.limit is None else f"{text} (limited by a control group)"


def _bandwidth(memory: MemoryInfo) -> str:
    if memory.bandwidth is None:
        return "not measured yet"
    # Bandwidth is given in powers of ten everywhere, unlike memory.
    return f"{memory.bandwidth / 1e9:.1f} GB/s reading, measured"


def to_dict(system: SystemInfo) -> dict[str, Any]:
    """The machine as data that `json.dumps` accepts; sizes in bytes, sets as sorted lists."""
    return attrs.asdict(system, value_serializer=_plain)


def _plain(_instance: object, _attribute: object, value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def from_dict(data: Mapping[str, Any]) -> SystemInfo:
    """The machine that `to_dict` wrote.

    Raises:
        cattrs.BaseValidationError: The data has another shape.
    """
    import cattrs

    return cattrs.Converter().structure(data, SystemInfo)
