"""NVIDIA GPUs, through NVML in a child process, or else through `nvidia-smi`."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from modelplug.system.child import run_child
from modelplug.system.info import Device
from modelplug.system.nvidia_mig import (
    MIG_NOTE,
    MigSlice,
    apply_visibility,
    attach_mig,
    is_cut_up,
    is_slice,
    parse_mig_list,
)
from modelplug.system.probing import Found, absent, failed, found
from modelplug.system.python_child import run_python_probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelplug.system.host import Host

__all__ = ["devices_from_nvml", "parse_nvidia_smi", "probe_nvidia"]

FIELDS = (
    "index",
    "uuid",
    "name",
    "memory.total",
    "memory.free",
    "driver_version",
    "compute_cap",
    "mig.mode.current",
)
# What drivers from before 2021 understand.
OLD_FIELDS = FIELDS[:6]
MIB = 1024 * 1024
_SMI_PLACES = ("/usr/lib/wsl/lib/nvidia-smi", "/usr/bin/nvidia-smi")


def evidence(host: Host) -> list[str]:
    """The signs of an NVIDIA driver that can be seen without starting anything."""
    signs = [str(path.name) for path in host.glob("/dev", "nvidia[0-9]*")]
    signs += [place for place in ("/dev/nvidiactl", "/proc/driver/nvidia/version") if host.exists(place)]
    if host.which("nvidia-smi", *_SMI_PLACES):
        signs.append("nvidia-smi")
    if host.os == "windows":
        windows = host.environ.get("SYSTEMROOT", r"C:\Windows")
        if host.exists(f"{windows}\\System32\\nvml.dll"):
            signs.append("nvml.dll")
    return signs


def probe_nvidia(host: Host, *, deadline: float) -> Found:
    """The NVIDIA GPUs, or why there are none."""
    if host.os == "darwin":
        return absent("macOS has no NVIDIA driver")
    if not evidence(host):
        return absent("no NVIDIA driver: neither /dev/nvidia* nor nvidia-smi is there")
    limit = time.monotonic() + deadline
    reasons: list[str] = []
    tool = host.which("nvidia-smi", *_SMI_PLACES)
    if host.python is not None and host.has_module("pynvml"):
        # NVML gets most of the time, and leaves enough to ask nvidia-smi when it hangs.
        share = deadline * 0.6 if tool else deadline
        answer = run_python_probe(host, "nvidia", deadline=share)
        if isinstance(answer, str):
            reasons.append(f"NVML: {answer}")
        else:
            return _report(host, devices_from_nvml(answer), "through NVML", reasons)
    if tool is None:
        reasons.append("nvidia-smi is not on PATH")
        return failed("; ".join(reasons))
    result = _query(host, tool, limit, reasons)
    return result if result is not None else failed("; ".join(reasons))


def _query(host: Host, tool: str, limit: float, reasons: list[str]) -> Found | None:
    """Asks nvidia-smi; None if it failed, with the cause added to `reasons`."""
    for fields in (FIELDS, OLD_FIELDS):
        command = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        result = run_child(command, deadline=limit - time.monotonic(), environ=host.environ)
        if not result.ok:
            # An old driver names the field it does not know; anything else would fail again.
            if result.state == "exit" and "not a valid field" in result.stdout + result.stderr:
                continue
            reasons.append(result.failure)
            return None
        devices, problems = parse_nvidia_smi(result.stdout, fields)
        reasons.extend(problems)
        if not devices:
            reasons.append("nvidia-smi lists no GPU")
            return None
        if any(is_cut_up(device) for device in devices):
            listing = run_child([tool, "-L"], deadline=limit - time.monotonic(), environ=host.environ)
            if listing.ok:
                devices = attach_mig(devices, parse_mig_list(listing.stdout))
            else:
                reasons.append(f"MIG devices are unknown: {listing.failure}")
        return _report(host, devices, "through nvidia-smi", reasons)
    reasons.append("nvidia-smi understands none of the queries")
    return None


def _report(host: Host, devices: Sequence[Device], how: str, reasons: Sequence[str]) -> Found:
    if not devices:
        return failed("; ".join(["the driver answers but lists no GPU", *reasons]))
    value = host.environ.get("CUDA_VISIBLE_DEVICES")
    shown = apply_visibility(devices, value)
    count = sum(device.visible for device in shown)
    detail = f"{len(shown)} found {how}"
    if value is not None:
        detail += f", {count} visible (CUDA_VISIBLE_DEVICES={value!r})"
        mixed = len({device.name for device in shown if not is_slice(device)}) > 1
        if mixed and host.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and re.match(r"\s*\d", value):
            detail += (
                "; the GPUs differ, so CUDA may number them fastest first: "
                "set CUDA_DEVICE_ORDER=PCI_BUS_ID to make the numbers mean what is shown here"
            )
    return found(shown, "; ".join([detail, *reasons]))


# nvidia-smi -------------------------------------------------------------------------------------------


def parse_nvidia_smi(text: str, fields: Sequence[str] = FIELDS) -> tuple[list[Device], list[str]]:
    """The devices in `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`, and unreadable rows.

    A cell such as `[N/A]` or `[Insufficient Permissions]` becomes None and the device stays.
    """
    devices: list[Device] = []
    problems: list[str] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        row = _row(line, fields)
        if row is None:
            problems.append(f"unreadable row of nvidia-smi: {line.strip()[:80]!r}")
            continue
        index = _whole(row.get("index"))
        notes = (MIG_NOTE,) if row.get("mig.mode.current") == "Enabled" else ()
        number = len(devices) if index is None else index
        devices.append(
            Device(
                id=f"cuda:{number}",
                api="cuda",
                index=number,
                name=row.get("name") or "NVIDIA GPU",
                vendor="nvidia",
                memory_total=_mebibytes(row.get("memory.total")),
                memory_free=_mebibytes(row.get("memory.free")),
                driver=row.get("driver_version"),
                compute_capability=row.get("compute_cap"),
                uuid=row.get("uuid"),
                notes=notes,
            )
        )
    return devices, problems


def _row(line: str, fields: Sequence[str]) -> dict[str, str | None] | None:
    cells = [cell.strip() for cell in line.split(",")]
    surplus = len(cells) - len(fields)
    if surplus < 0:
        return None
    if surplus:
        # Only the name can hold a comma.
        at = fields.index("name")
        cells[at : at + surplus + 1] = [", ".join(cells[at : at + surplus + 1])]
    row = {field: _cell(cell) for field, cell in zip(fields, cells, strict=True)}
    uuid = row.get("uuid")
    if _whole(row.get("index")) is None and not (uuid and uuid.startswith("GPU-")):
        return None
    return row


def _cell(text: str) -> str | None:
    if not text or (text.startswith("[") and text.endswith("]")) or text.upper() in {"N/A", "ERR!"}:
        return None
    return text


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _mebibytes(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,12})(?:\.\d+)?(?: ?MiB)?", text or "")
    return int(match.group(1)) * MIB if match else None


# NVML -------------------------------------------------------------------------------------------------


def devices_from_nvml(answer: Mapping[str, Any]) -> list[Device]:
    """The devices in what the NVML child printed."""
    devices: list[Device] = []
    slices: list[MigSlice] = []
    for item in answer["devices"]:
        index = int(item["index"])
        notes = []
        if item.get("mig"):
            notes.append(MIG_NOTE)
        if item.get("problem"):
            notes.append(str(item["problem"]))
        devices.append(
            Device(
                id=f"cuda:{index}",
                api="cuda",
                index=index,
                name=item.get("name") or "NVIDIA GPU",
                vendor="nvidia",
                memory_total=item.get("memory_total"),
                memory_free=item.get("memory_free"),
                driver=answer.get("driver"),
                compute_capability=item.get("compute_capability"),
                uuid=item.get("uuid"),
                notes=tuple(notes),
            )
        )
        slices.extend(
            MigSlice(
                parent=index,
                number=int(piece["index"]),
                # NVML repeats the GPU's name in front of the profile.
                name=str(piece.get("name") or "MIG slice").removeprefix(f"{item.get('name')} "),
                uuid=str(piece.get("uuid") or ""),
                memory_total=piece.get("memory_total"),
                memory_free=piece.get("memory_free"),
            )
            for piece in item.get("mig_devices", ())
        )
    return attach_mig(devices, slices)
