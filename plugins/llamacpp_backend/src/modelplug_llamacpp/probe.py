"""What only the engine itself can tell: runs in a child process that may crash."""

from __future__ import annotations

from typing import Any

__all__ = ["device_id", "probe"]

_APIS = {"CUDA": "cuda", "ROCm": "rocm", "Vulkan": "vulkan", "MTL": "metal", "Metal": "metal"}


def probe() -> dict[str, Any]:
    """The devices this build of llama.cpp can use, as fields of the backend's report."""
    import xllamacpp

    devices = [identity for info in xllamacpp.get_device_info() if (identity := device_id(info["name"]))]
    if not devices:
        return {
            "state": "cpu",
            "cause": "this build of llama.cpp was made without GPU support, or found no GPU",
        }
    return {"state": "gpu", "devices": devices, "cause": ""}


def device_id(name: str) -> str | None:
    """The `Device.id` for the engine's name of a device (`CUDA0` is `cuda:0`); None for a CPU."""
    stem = name.rstrip("0123456789")
    if stem not in _APIS:
        return None
    return f"{_APIS[stem]}:{name[len(stem) :] or '0'}"
