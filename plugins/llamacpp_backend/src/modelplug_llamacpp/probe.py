"""What only the engine itself can tell: runs in a child process that may crash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["device_ids", "engine_devices", "probe"]

_APIS = {"CUDA": "cuda", "ROCm": "rocm", "Vulkan": "vulkan", "MTL": "metal", "Metal": "metal"}


def probe() -> dict[str, Any]:
    """The devices this build of llama.cpp can use, as fields of the backend's report."""
    devices = engine_devices()
    if not devices:
        return {
            "state": "cpu",
            "cause": "this build of llama.cpp was made without GPU support, or found no GPU",
        }
    return {"state": "gpu", "devices": devices, "cause": ""}


def engine_devices() -> list[str]:
    """The `Device.id` of each GPU the engine can use, in the engine's own order."""
    import xllamacpp

    from modelplug.system import probe as probe_system

    names = [info["name"] for info in xllamacpp.get_device_info()]
    if not device_ids(names, ()):
        return []
    return device_ids(names, [device.id for device in probe_system().visible_devices])


def device_ids(names: Iterable[str], visible: Sequence[str]) -> list[str]:
    """Translate the engine's names of devices (`CUDA0`) into ids of the system's (`cuda:0`).

    The engine counts only the devices it is allowed to see, so with `CUDA_VISIBLE_DEVICES=2` its `CUDA0` is
    the system's `cuda:2`.

    Args:
        names: What the engine calls its devices; those that are no GPU are left out.
        visible: The ids of the system's visible devices, in order.
    """
    ids = []
    for name in names:
        stem = name.rstrip("0123456789")
        if stem not in _APIS:
            continue
        api, number = _APIS[stem], int(name[len(stem) :] or 0)
        same_api = [identity for identity in visible if identity.startswith(f"{api}:")]
        ids.append(same_api[number] if number < len(same_api) else f"{api}:{number}")
    return ids
