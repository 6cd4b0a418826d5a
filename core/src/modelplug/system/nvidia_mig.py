"""The slices that a GPU in MIG mode is cut into, and what `CUDA_VISIBLE_DEVICES` leaves visible of both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from modelplug.system.visibility import select_devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.system.info import Device

__all__ = [
    "MIG_NOTE",
    "MigSlice",
    "apply_visibility",
    "attach_mig",
    "is_cut_up",
    "is_slice",
    "parse_mig_list",
]

MIG_NOTE = "MIG is on: CUDA uses its slices, not the whole GPU"
_MIG_PREFIX = "MIG-"


@attrs.frozen(kw_only=True)
class MigSlice:
    """One MIG device: the GPU it is cut from, its number there, its profile and UUID."""

    parent: int
    number: int
    name: str
    uuid: str
    memory_total: int | None = None
    memory_free: int | None = None


def parse_mig_list(text: str) -> list[MigSlice]:
    """The MIG devices in the output of `nvidia-smi -L`."""
    slices = []
    parent: int | None = None
    for line in text.splitlines():
        gpu = re.match(r"GPU (\d+):", line)
        if gpu:
            parent = int(gpu.group(1))
            continue
        mig = re.match(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (\S+)\)", line)
        if mig and parent is not None:
            slices.append(
                MigSlice(
                    parent=parent, number=int(mig.group(2)), name=f"MIG {mig.group(1)}", uuid=mig.group(3)
                )
            )
    return slices


def attach_mig(devices: Sequence[Device], slices: Sequence[MigSlice]) -> list[Device]:
    """The devices with each GPU's MIG slices after it, each with its own memory where that is known."""
    result: list[Device] = []
    for device in devices:
        result.append(device)
        result.extend(
            attrs.evolve(
                device,
                id=f"{device.id}:mig:{piece.number}",
                name=f"{device.name} {piece.name}",
                uuid=piece.uuid,
                memory_total=piece.memory_total,
                memory_free=piece.memory_free,
                notes=(f"a MIG slice of {device.id}",),
            )
            for piece in slices
            if piece.parent == device.index
        )
    return result


def is_slice(device: Device) -> bool:
    """Whether the device is a MIG slice."""
    return ":mig:" in device.id


def is_cut_up(device: Device) -> bool:
    """Whether the device is a whole GPU in MIG mode."""
    return MIG_NOTE in device.notes


def apply_visibility(devices: Sequence[Device], value: str | None) -> list[Device]:
    """The devices with `visible` set as a CUDA program with that `CUDA_VISIBLE_DEVICES` would see them.

    A GPU in MIG mode is not usable as a whole; a CUDA process gets one MIG slice at most, and no whole GPU
    beside it.
    """
    whole = [device for device in devices if not is_slice(device)]
    pieces = [device for device in devices if is_slice(device)]
    chosen: list[str] = []
    first = (value or "").split(",")[0].strip().upper()
    if value is not None and first.startswith(_MIG_PREFIX):
        # Drivers before R470 write MIG-GPU-<uuid>/<gi>/<ci>, there and in the variable alike.
        positions = select_devices(value, [piece.uuid for piece in pieces], prefixes=(_MIG_PREFIX,))
        chosen = [pieces[position].id for position in positions]
    else:
        for position in select_devices(value, [device.uuid for device in whole], prefixes=("GPU-",)):
            gpu = whole[position]
            if is_cut_up(gpu):
                chosen.extend(piece.id for piece in pieces if piece.index == gpu.index)
            else:
                chosen.append(gpu.id)
    slices = [name for name in chosen if ":mig:" in name]
    if slices:
        chosen = slices[:1]
    return [attrs.evolve(device, visible=device.id in chosen) for device in devices]
