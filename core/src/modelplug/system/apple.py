"""Apple's GPUs, whose memory on Apple silicon is the machine's own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from modelplug.system.child import first_line, run_child
from modelplug.system.info import Device
from modelplug.system.probing import Found, absent, failed, found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.system.host import Host

__all__ = ["parse_displays", "probe_apple", "working_set"]

GIB = 1024**3
MIB = 1024**2


def working_set(values: Mapping[str, str]) -> tuple[int | None, str]:
    """How much memory Metal lets the GPU use, in bytes, and a note on where the number comes from.

    Args:
        values: The output of `sysctl hw iogpu` as name -> value.
    """
    memory = values.get("hw.memsize", "")
    if not memory.isdigit():
        return None, "macOS did not say how much memory there is"
    total = int(memory)
    wired = values.get("iogpu.wired_limit_mb", "0")
    if wired.isdigit() and int(wired) > 0:
        return min(total, int(wired) * MIB), "limit set with iogpu.wired_limit_mb"
    # Nothing but Metal itself states the default; these are the fractions seen on real machines.
    fraction, name = (2 / 3, "two thirds") if total <= 36 * GIB else (3 / 4, "three quarters")
    return int(total * fraction), f"estimate: macOS usually lets the GPU use {name} of main memory"


def probe_apple(
    host: Host, *, deep: bool, deadline: float, sysctl: Mapping[str, str], available: int | None = None
) -> Found:
    """The GPUs that Metal can use, or why there are none.

    Args:
        host: Where to look.
        deep: Ask `system_profiler` even where the processor's name is enough; it takes about a second.
        deadline: Seconds.
        sysctl: The output of `sysctl machdep.cpu hw iogpu` as name -> value.
        available: Bytes of main memory that can be had now.
    """
    if host.os != "darwin":
        return absent("Metal is macOS only")
    chip = sysctl.get("machdep.cpu.brand_string", "")
    silicon = chip.startswith("Apple")
    if silicon and not deep:
        return found([_unified(chip, sysctl, available)], "Apple silicon, from the processor's name")
    tool = host.which("system_profiler", "/usr/sbin/system_profiler")
    if tool is None:
        reason = "system_profiler is not there"
    else:
        result = run_child([tool, "SPDisplaysDataType", "-json"], deadline=deadline, environ=host.environ)
        displays, reason = parse_displays(result.stdout) if result.ok else ([], result.failure)
        devices = [_from_display(index, item, sysctl, available) for index, item in enumerate(displays)]
        if devices:
            return found(devices, f"{len(devices)} found through system_profiler")
    if silicon:
        return found(
            [_unified(chip, sysctl, available)], f"Apple silicon, from the processor's name; {reason}"
        )
    return failed(reason or "system_profiler lists no GPU that Metal can use")


def _unified(name: str, sysctl: Mapping[str, str], available: int | None, index: int = 0) -> Device:
    limit, note = working_set(sysctl)
    free = min(limit, available) if limit is not None and available is not None else None
    return Device(
        id=f"metal:{index}",
        api="metal",
        index=index,
        name=name,
        vendor="apple",
        memory_total=limit,
        memory_free=free,
        unified_memory=True,
        notes=(note,),
    )


def _from_display(
    index: int, item: Mapping[str, Any], sysctl: Mapping[str, str], available: int | None
) -> Device:
    name = str(item.get("sppci_model") or item.get("_name") or "GPU")
    vendor = _vendor(str(item.get("spdisplays_vendor", "")) + " " + name)
    if vendor == "apple":
        return _unified(name, sysctl, available, index)
    own = _size(item.get("spdisplays_vram"))
    return Device(
        id=f"metal:{index}",
        api="metal",
        index=index,
        name=name,
        vendor=vendor,
        memory_total=own,
        unified_memory=own is None,
        notes=() if own is not None else ("shares main memory; how much of it is not known",),
    )


def _vendor(text: str) -> str:
    lowered = text.lower()
    for word, vendor in (
        ("apple", "apple"),
        ("amd", "amd"),
        ("ati", "amd"),
        ("intel", "intel"),
        ("nvidia", "nvidia"),
    ):
        if re.search(rf"\b{word}\b|_{word}\b", lowered):
            return vendor
    return "unknown"


def _size(value: object) -> int | None:
    match = re.fullmatch(r"\s*(\d+)\s*(MB|GB)\s*", str(value))
    return int(match.group(1)) * (GIB if match.group(2) == "GB" else MIB) if match else None


def parse_displays(text: str) -> tuple[list[dict[str, Any]], str]:
    """The GPUs with Metal in `system_profiler SPDisplaysDataType -json`, and why there are none, if so."""
    try:
        content = json.loads(text)
    except ValueError:
        return [], f"system_profiler printed no JSON: {first_line(text)!r}"
    entries = content.get("SPDisplaysDataType") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        return [], "system_profiler's answer holds no displays"
    gpus = [item for item in entries if isinstance(item, dict) and _has_metal(item)]
    return gpus, "" if gpus else "system_profiler lists no GPU that Metal can use"


def _has_metal(item: Mapping[str, Any]) -> bool:
    # macOS 13 and later say "mtlgpufamilysupport", earlier ones "metal" or "metalfamily".
    keys = ("spdisplays_mtlgpufamilysupport", "spdisplays_metal", "spdisplays_metalfamily")
    values = [str(item[key]).lower() for key in keys if key in item]
    return any("notsupported" not in value and "unsupported" not in value for value in values)
