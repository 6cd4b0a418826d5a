"""How usable transformers is here, told from package metadata alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.types import BackendReport, BackendState
from modelplug_transformers.settings import DEFAULT_BATCH, TransformersSettings

if TYPE_CHECKING:
    from modelplug.system.info import SystemInfo

__all__ = ["report", "usable_apis"]

_NEEDED = ("transformers", "torch", "gguf", "safetensors", "accelerate")

FORMATS = ("huggingface", "safetensors", "pytorch", "gguf")


def usable_apis(torch_version: str) -> frozenset[str]:
    """Tell from torch's version which devices this build may use; a plain version says nothing on Linux.

    Args:
        torch_version: For example `2.6.0+cu124`.
    """
    build = torch_version.partition("+")[2]
    if build == "cpu":
        return frozenset()
    if sys.platform == "darwin":
        return frozenset({"metal"})
    if build.startswith("cu"):
        return frozenset({"cuda"})
    if build.startswith("rocm"):
        return frozenset({"rocm"})
    # The default wheels are CUDA builds on Linux and CPU builds on Windows.
    return frozenset({"cuda"}) if sys.platform.startswith("linux") else frozenset()


def report(system: SystemInfo) -> BackendReport:
    """Say how usable the engine is on this machine.

    Args:
        system: The machine.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if "transformers" in missing or missing:
        state = BackendState.NOT_INSTALLED if "transformers" in missing else BackendState.BROKEN
        cause = f"the package {missing[0]} is not installed"
        if len(missing) > 1:
            cause = f"the packages {', '.join(missing)} are not installed"
        return _report(system, state, cause, ())
    version = importlib.metadata.version("torch")
    apis = usable_apis(version)
    devices = tuple(device.id for device in system.visible_devices if device.api in apis)
    if devices:
        return _report(system, BackendState.GPU, "", devices)
    idle = next(iter(system.visible_devices), None)
    cause = f"torch {version} is built without support for {idle.name} ({idle.api})" if idle else ""
    return _report(system, BackendState.CPU, cause, ())


def _report(system: SystemInfo, state: BackendState, cause: str, devices: tuple[str, ...]) -> BackendReport:
    installed = state is not BackendState.NOT_INSTALLED
    return BackendReport(
        name="transformers",
        state=state,
        engine="Hugging Face transformers",
        version=importlib.metadata.version("transformers") if installed else "",
        cause=cause,
        install=_install_advice(system),
        formats=FORMATS,
        rejects=(
            ("architecture", "resnet_bk", "it is not part of transformers: use the backend resnet-bk"),
            ("byte_order", "big", "its GGUF reader is for little-endian files only"),
            ("kind", "adapter", "an adapter is no model by itself: load the base model"),
            ("kind", "projector", "a projector is no model by itself: load the language model"),
            ("kind", "vocabulary", "the file holds a vocabulary and no weights"),
        ),
        devices=devices,
        gpu_offload="whole" if devices else "none",
        # GGUF weights are unpacked; on the CPU everything is computed in 32 bits unless the settings differ.
        dequantises=2.0 if devices else 4.0,
        default_batch_size=DEFAULT_BATCH,
        settings=tuple(
            sorted(field.name for field in attrs.fields(TransformersSettings) if field.name not in _IGNORED)
        ),
        ignored_settings=dict(_IGNORED),
        capabilities=frozenset({"chat", "embeddings", "logprobs"}),
        deep_probe="modelplug_transformers.probe:probe" if installed else "",
        priority=20,
    )


_IGNORED = {
    "gpu_layers": 'device_map ("auto" fills the GPU and leaves the rest in main memory), '
    "because transformers does not count layers"
}


def _install_advice(system: SystemInfo) -> str:
    pip = f"{sys.executable} -m pip install"
    packages = "transformers accelerate gguf safetensors sentencepiece protobuf"
    apis = {device.api for device in system.visible_devices}
    if "cuda" in apis or "metal" in apis or system.os == "darwin":
        return f"{pip} torch {packages}"
    flavour = "rocm" if "rocm" in apis else "cpu"
    advice = f"{pip} {packages} after installing torch's {flavour} build"
    return f"{advice} (PyTorch's installation page names the command)"
