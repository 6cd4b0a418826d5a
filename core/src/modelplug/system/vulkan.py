"""GPUs that only Vulkan shows, from `vulkaninfo --summary`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from modelplug.system.child import run_child
from modelplug.system.info import Device
from modelplug.system.probing import Found, absent, failed, found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.system.host import Host

__all__ = ["merge_devices", "parse_vulkaninfo", "probe_vulkan"]

_VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel", "0x106b": "apple"}


def probe_vulkan(host: Host, *, deadline: float) -> Found:
    """The GPUs `vulkaninfo` lists, software renderers left out, or why there are none."""
    tool = host.which("vulkaninfo")
    if tool is None:
        return absent("vulkaninfo is not on PATH")
    result = run_child([tool, "--summary"], deadline=deadline, environ=host.environ)
    if not result.ok:
        return failed(result.failure)
    devices = parse_vulkaninfo(result.stdout)
    return (
        found(devices, f"{len(devices)} found through vulkaninfo")
        if devices
        else absent("Vulkan shows no GPU")
    )


def parse_vulkaninfo(text: str) -> list[Device]:
    """The GPUs in the output of `vulkaninfo --summary`; it does not say how much memory they have."""
    blocks: dict[int, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for line in text.splitlines():
        heading = re.fullmatch(r"GPU(\d+):\s*", line.strip())
        if heading:
            current = blocks.setdefault(int(heading.group(1)), {})
        elif current is not None and "=" in line:
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip()
    devices: list[Device] = []
    seen: set[str] = set()
    for index, block in sorted(blocks.items()):
        kind = block.get("deviceType", "")
        uuid = block.get("deviceUUID")
        # A GPU with two drivers installed is listed once for each.
        if kind.endswith("_CPU") or not block.get("deviceName") or (uuid and uuid in seen):
            continue
        if uuid:
            seen.add(uuid)
        devices.append(
            Device(
                id=f"vulkan:{index}",
                api="vulkan",
                index=index,
                name=block["deviceName"],
                vendor=_VENDORS.get(block.get("vendorID", "").lower(), "unknown"),
                driver=block.get("driverInfo") or block.get("driverVersion"),
                uuid=uuid,
                unified_memory=kind.endswith("INTEGRATED_GPU"),
            )
        )
    return devices


def merge_devices(known: Sequence[Device], vulkan: Sequence[Device]) -> tuple[Device, ...]:
    """All devices, each once: a GPU that its own api shows is not repeated for Vulkan.

    A card that only the kernel's driver showed takes Vulkan's number and name, and keeps its memory.
    """
    # A slice of a GPU is no GPU of its own to Vulkan.
    waiting = [device for device in known if ":mig:" not in device.id]
    result = list(known)
    for device in vulkan:
        match = _match(device, waiting)
        if match is None:
            result.append(device)
            continue
        waiting.remove(match)
        if match.api == "vulkan":
            result[result.index(match)] = attrs.evolve(
                device, memory_total=match.memory_total, memory_free=match.memory_free
            )
    return tuple(result)


def _match(device: Device, known: Sequence[Device]) -> Device | None:
    same = [item for item in known if item.vendor == device.vendor]
    if not same or device.vendor == "unknown":
        return None
    plain = _plain_uuid(device.uuid)
    for item in same:
        if plain and plain == _plain_uuid(item.uuid):
            return item
    for item in same:
        if _model_words(item.name) & _model_words(device.name):
            return item
    # ROCm and Vulkan may call one card by quite different names; an integrated GPU is usually Vulkan's alone.
    return None if device.unified_memory else same[0]


def _plain_uuid(uuid: str | None) -> str:
    return re.sub(r"^gpu-|-", "", (uuid or "").lower())


def _model_words(name: str) -> set[str]:
    """The words with a number in them, such as `4090` or `mi300x`; they tell models apart."""
    return {word for word in re.findall(r"[a-z0-9]+", name.lower()) if re.search(r"\d{3}", word)}
