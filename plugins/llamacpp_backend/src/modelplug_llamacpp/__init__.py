"""llama.cpp for modelplug: the hooks. Importing this module does not import the engine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import (
        BackendReport,
        BackendSettings,
        ConversionPlan,
        ConvertRequest,
        LoadRequest,
    )
    from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.2"

NAME = "llamacpp"


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> BackendReport:
    """Say whether the engine's package is there; which devices it can use is for the deep probe."""
    from modelplug.backends.types import BackendReport, BackendState

    installed = importlib.util.find_spec("xllamacpp") is not None
    return BackendReport(
        name=NAME,
        state=BackendState.CPU if installed else BackendState.NOT_INSTALLED,
        engine="llama.cpp (xllamacpp)",
        version=importlib.metadata.version("xllamacpp") if installed else "",
        cause="" if installed else "the package xllamacpp is not installed",
        install=_install_advice(system),
        formats=("gguf",),
        rejects=(
            ("byte_order", "big", "this build of llama.cpp reads little-endian files only"),
            ("kind", "adapter", "an adapter is no model by itself: load the base model"),
            ("kind", "projector", "a projector is no model by itself: load the language model"),
            ("kind", "vocabulary", "the file holds a vocabulary and no weights"),
        ),
        gpu_offload="layers",
        default_batch_size=2048,
        settings=_setting_names(),
        capabilities=frozenset({"chat", "embeddings", "grammar", "logprobs"}),
        deep_probe="modelplug_llamacpp.probe:probe" if installed else "",
        priority=100,
    )


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """The settings of `backends.llamacpp`."""
    from modelplug_llamacpp.settings import LlamaCppSettings

    return {NAME: LlamaCppSettings}


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load with llama.cpp if it is meant."""
    if request.backend != NAME:
        return None
    from modelplug_llamacpp.engine import LlamaCppModel

    return LlamaCppModel(request)


@hookimpl
def modelplug_plan_conversion(request: ConvertRequest) -> ConversionPlan | None:
    """Say what converting a model directory of the Llama family to GGUF would come to."""
    from modelplug_llamacpp.conversion import plan

    return plan(request)


@hookimpl
def modelplug_convert_model(request: ConvertRequest) -> Path | None:
    """Convert a model directory of the Llama family to GGUF."""
    from modelplug_llamacpp.conversion import convert

    return convert(request)


def _setting_names() -> tuple[str, ...]:
    import attrs

    from modelplug_llamacpp.settings import LlamaCppSettings

    return tuple(field.name for field in attrs.fields(LlamaCppSettings))


def _install_advice(system: SystemInfo) -> str:
    command = f"{sys.executable} -m pip install xllamacpp"
    if any(device.api in ("cuda", "rocm", "vulkan") for device in system.visible_devices):
        return f"{command}  (for the GPU, take the wheel for your platform from xllamacpp's own index)"
    return command
