"""AMD GPUs: AMD SMI in a child process, or `rocm-smi`, or what the kernel's driver says."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.system.child import first_line, run_child
from modelplug.system.info import Device
from modelplug.system.probing import Found, absent, failed, found
from modelplug.system.python_child import run_python_probe
from modelplug.system.visibility import select_devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelplug.system.host import Host

__all__ = ["apply_visibility", "parse_rocm_smi", "probe_amd"]

AMD = "0x1002"
_SMI_PLACE = "/opt/rocm/bin/rocm-smi"
_QUERY = ("--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--showuniqueid", "--json")


def _cards(host: Host) -> list[str]:
    """The kernel's names of AMD cards, for example `card0`; not their connectors (`card0-DP-1`)."""
    names = [
        path.name for path in host.glob("/sys/class/drm", "card*") if re.fullmatch(r"card\d+", path.name)
    ]
    names.sort(key=lambda name: int(name.removeprefix("card")))
    return [
        name for name in names if (host.read(f"/sys/class/drm/{name}/device/vendor") or "").strip() == AMD
    ]


def probe_amd(host: Host, *, deadline: float) -> Found:
    """The AMD GPUs, or why there are none."""
    if host.os != "linux":
        return absent("AMD GPUs are probed on Linux only; elsewhere Vulkan may show them")
    cards = _cards(host)
    tool = host.which("rocm-smi", _SMI_PLACE)
    if not cards and tool is None and not host.exists("/dev/kfd"):
        return absent("no AMD GPU: no /dev/kfd, no card of the kernel's driver and no rocm-smi")
    limit = time.monotonic() + deadline
    reasons: list[str] = []
    # Without /dev/kfd no ROCm program can use the GPU, so there is no point in asking ROCm's tools.
    if host.exists("/dev/kfd"):
        devices = _from_rocm(host, tool, limit, deadline, reasons)
        if devices:
            return _report(host, devices, reasons)
    devices = devices_from_sysfs(host, cards)
    if devices:
        return _report(host, devices, [*reasons, "read from the kernel's driver"])
    if not reasons and not host.exists("/dev/kfd"):
        return absent("rocm-smi is installed, but there is no AMD GPU: no /dev/kfd and no card")
    return failed("; ".join(reasons or ["/dev/kfd is there, but nothing names a GPU"]))


def _from_rocm(
    host: Host, tool: str | None, limit: float, deadline: float, reasons: list[str]
) -> list[Device]:
    if host.python is not None and host.has_module("amdsmi"):
        answer = run_python_probe(host, "amd", deadline=deadline * 0.6 if tool else deadline)
        if isinstance(answer, str):
            reasons.append(f"AMD SMI: {answer}")
        else:
            return [_device(item) for item in answer["devices"]]
    if tool is not None:
        result = run_child([tool, *_QUERY], deadline=limit - time.monotonic(), environ=host.environ)
        if result.ok:
            devices, problem = parse_rocm_smi(result.stdout)
            if problem:
                reasons.append(problem)
            return devices
        reasons.append(result.failure)
    return []


def _report(host: Host, devices: Sequence[Device], reasons: Sequence[str]) -> Found:
    shown = apply_visibility(devices, host.environ)
    detail = f"{len(shown)} found"
    if any(not device.visible for device in shown):
        detail += f", {sum(device.visible for device in shown)} visible"
    return found(shown, "; ".join([detail, *reasons]))


def _device(item: Mapping[str, Any]) -> Device:
    index = int(item["index"])
    name = item.get("name")
    return Device(
        id=f"rocm:{index}",
        api="rocm",
        index=index,
        name=str(name) if name and name != "N/A" else "AMD GPU",
        vendor="amd",
        memory_total=item.get("memory_total"),
        memory_free=item.get("memory_free"),
        driver=item.get("driver"),
        uuid=item.get("uuid"),
    )


# rocm-smi ---------------------------------------------------------------------------------------------


def parse_rocm_smi(text: str) -> tuple[list[Device], str]:
    """The devices in the JSON that `rocm-smi --json` prints, and what is wrong with it (empty if nothing).

    Versions differ in the case of the keys, in whether warnings come before the JSON, and in which keys
    are there at all.
    """
    start = text.find("{")
    try:
        content = json.loads(text[start:] if start >= 0 else text)
    except ValueError:
        return [], f"rocm-smi printed no JSON: {first_line(text)!r}"
    if not isinstance(content, dict):
        return [], "rocm-smi printed something else than an object"
    system = _lower(content.get("system"))
    driver = _word(system.get("driver version"))
    devices = []
    for key in sorted(content, key=lambda name: (len(name), name)):
        match = re.fullmatch(r"card(\d+)", key)
        values = _lower(content[key])
        if match is None or not values:
            continue
        total = _bytes(values.get("vram total memory (b)"))
        used = _bytes(values.get("vram total used memory (b)"))
        identity = _word(values.get("unique id"))
        item = {
            "index": match.group(1),
            "name": _word(values.get("card series"))
            or _word(values.get("card model"))
            or _word(values.get("device name")),
            "memory_total": total,
            "memory_free": None if total is None or used is None else max(0, total - used),
            "driver": driver,
            "uuid": f"GPU-{identity.removeprefix('0x')}" if identity else None,
        }
        devices.append(_device(item))
    return devices, "" if devices else "rocm-smi lists no GPU"


def _lower(value: object) -> dict[str, object]:
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}


def _word(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text if text and text.upper() not in {"N/A", "NONE", "UNKNOWN"} else None


def _bytes(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


# The kernel's driver ----------------------------------------------------------------------------------


def devices_from_sysfs(host: Host, cards: Sequence[str]) -> list[Device]:
    """The AMD cards as the kernel's driver describes them.

    Without `/dev/kfd` they are of no use to ROCm, and what may use them is Vulkan.
    """
    api = "rocm" if host.exists("/dev/kfd") else "vulkan"
    notes = () if api == "rocm" else ("no /dev/kfd: not usable by ROCm, perhaps by Vulkan",)
    devices = []
    for index, card in enumerate(cards):
        base = f"/sys/class/drm/{card}/device"
        total = _bytes(host.read(f"{base}/mem_info_vram_total"))
        used = _bytes(host.read(f"{base}/mem_info_vram_used"))
        identity = (host.read(f"{base}/unique_id") or "").strip()
        number = (host.read(f"{base}/device") or "").strip().removeprefix("0x")
        name = (host.read(f"{base}/product_name") or "").strip()
        devices.append(
            Device(
                id=f"rocm:{index}" if api == "rocm" else f"amdgpu:{card}",
                api=api,
                index=index,
                name=name or (f"AMD GPU [1002:{number}]" if number else "AMD GPU"),
                vendor="amd",
                memory_total=total,
                memory_free=None if total is None or used is None else max(0, total - used),
                uuid=f"GPU-{identity}" if identity else None,
                notes=notes,
            )
        )
    return devices


# Visibility -------------------------------------------------------------------------------------------


def apply_visibility(devices: Sequence[Device], environ: Mapping[str, str]) -> list[Device]:
    """The devices with `visible` set as a ROCm program started in that environment would see them.

    `ROCR_VISIBLE_DEVICES` filters first; `HIP_VISIBLE_DEVICES` (or `CUDA_VISIBLE_DEVICES`, which HIP reads
    where its own is not set) then counts among what is left.
    """
    usable = [device for device in devices if device.api == "rocm"]
    for names in (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")):
        value = next((environ[name] for name in names if name in environ), None)
        positions = select_devices(value, [device.uuid for device in usable], prefixes=("GPU-",))
        usable = [usable[position] for position in positions]
    chosen = {device.id for device in usable}
    return [
        attrs.evolve(device, visible=device.id in chosen) if device.api == "rocm" else device
        for device in devices
    ]
