"""What planning takes for given: contexts worth considering, threads, and what is free on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.backends.types import BackendReport
    from modelplug.backends.wishes import Demand
    from modelplug.formats.model_info import ModelInfo
    from modelplug.system.info import Device, SystemInfo

__all__ = [
    "AUTOMATIC_CONTEXT",
    "SMALLEST_CONTEXT",
    "automatic_contexts",
    "default_threads",
    "kv_type",
    "most_free",
    "unknown_devices",
]

AUTOMATIC_CONTEXT = 8192
"""The most tokens of context that are chosen without being asked for; the model's own limit comes first."""

SMALLEST_CONTEXT = 2048
"""An automatic context is not made smaller than this to make a model fit at all."""

UNKNOWN_SIZE = 1 << 62


def default_threads(system: SystemInfo) -> int:
    """CPU threads that generation should use: the usable cores, but not the second thread of each."""
    cpu = system.cpu
    return max(1, min(cpu.usable_cores, cpu.physical_cores or cpu.usable_cores))


def automatic_contexts(info: ModelInfo) -> tuple[int, ...]:
    """The context sizes to consider where none was asked for, best first."""
    size = min(info.context_length or SMALLEST_CONTEXT, AUTOMATIC_CONTEXT)
    sizes = [size]
    while size > SMALLEST_CONTEXT:
        size = max(size // 2, SMALLEST_CONTEXT)
        sizes.append(size)
    return tuple(sizes)


def unknown_devices(report: BackendReport, system: SystemInfo) -> list[Device]:
    """The devices that an engine names and no probe of this machine knows, with nothing known of them.

    That is so where only the engine speaks to the device, as with Vulkan, or where the driver's tools are
    missing, as in a container. An engine's numbers are not trusted where probes did find devices of that api:
    they may be hidden on purpose.
    """
    from modelplug.system.info import Device

    probed = {device.api for device in system.devices}
    found = []
    for identity in report.devices:
        api, _, number = identity.partition(":")
        if api not in probed and number.isdecimal():
            name = f"{api} device {number} of {report.engine}"
            found.append(Device(id=identity, api=api, index=int(number), name=name, vendor="unknown"))
    return found


def most_free(device: Device, system: SystemInfo) -> int:
    """The most memory that can be free on a device: an upper bound where the driver does not say."""
    if device.memory_free is not None:
        return device.memory_free
    if device.unified_memory:
        return system.memory.available
    return device.memory_total if device.memory_total is not None else UNKNOWN_SIZE


def kv_type(report: BackendReport, demand: Demand) -> str:
    """The type keys and values are kept in: the setting, or that of an engine that unpacks to 32 bits."""
    named = demand.settings.get("kv_type")
    if isinstance(named, str):
        return named
    return "f32" if report.dequantises is not None and report.dequantises >= 4 else "f16"
