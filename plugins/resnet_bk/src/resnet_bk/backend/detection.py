"""How usable the engine is here, told from package metadata alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.types import BackendReport, BackendState
from resnet_bk._version import __version__
from resnet_bk.backend.settings import DEFAULT_BATCH, ResNetBKSettings

if TYPE_CHECKING:
    from modelplug.system.info import SystemInfo

__all__ = ["report"]

_NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "numpy")
_IGNORED = {"gpu_layers": "gpu_enabled, because a model is on the GPU with all of its layers or not at all"}


def report(system: SystemInfo) -> BackendReport:
    """Say how usable the engine is on this machine.

    Args:
        system: The machine.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    devices: tuple[str, ...] = ()
    if missing:
        state = BackendState.NOT_INSTALLED if "torch" in missing else BackendState.BROKEN
        packages = "package" if len(missing) == 1 else "packages"
        verb = "is" if len(missing) == 1 else "are"
        cause = f"the {packages} {', '.join(missing)} {verb} not installed"
    else:
        apis = _apis(importlib.metadata.version("torch"))
        devices = tuple(device.id for device in system.visible_devices if device.api in apis)
        state = BackendState.GPU if devices else BackendState.CPU
        cause = "" if devices else _why_no_gpu(system)
    return BackendReport(
        name="resnet-bk",
        state=state,
        engine="ResNet-BK in PyTorch",
        version="" if missing else __version__,
        cause=cause,
        install=f"{sys.executable} -m pip install {' '.join(missing or _NEEDED)}",
        formats=("huggingface",),
        architectures=frozenset({"resnet_bk"}),
        rejects=(("architecture", "None", "its config.json does not say what kind of model it is"),),
        devices=devices,
        gpu_offload="whole" if devices else "none",
        dequantises=None if devices else 4.0,
        default_batch_size=DEFAULT_BATCH,
        settings=tuple(
            sorted(field.name for field in attrs.fields(ResNetBKSettings) if field.name not in _IGNORED)
        ),
        ignored_settings=dict(_IGNORED),
        capabilities=frozenset({"chat", "embeddings", "logprobs"}),
        deep_probe="" if missing else "resnet_bk.backend.probe:probe",
        priority=40,
    )


def _apis(torch_version: str) -> frozenset[str]:
    """The kinds of device for which this build of torch has kernels of ours."""
    build = torch_version.partition("+")[2]
    # The default wheels for Linux are CUDA builds, without a word about it in their version.
    plain = not build and sys.platform.startswith("linux")
    return frozenset({"cuda"}) if plain or build.startswith("cu") else frozenset()


def _why_no_gpu(system: SystemInfo) -> str:
    idle = next(iter(system.visible_devices), None)
    version = importlib.metadata.version("torch")
    return f"torch {version} is built without support for {idle.name} ({idle.api})" if idle else ""
