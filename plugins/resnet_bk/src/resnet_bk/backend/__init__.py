"""ResNet-BK models for modelplug: the hooks. Importing this module does not import the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest
    from modelplug.formats.model_info import ModelInfo
    from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.1"

NAME = "resnet-bk"


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> BackendReport:
    """Say whether torch and transformers are there, from package metadata alone."""
    from resnet_bk.backend.detection import report

    return report(system)


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the settings of `backends.resnet-bk`."""
    from resnet_bk.backend.settings import ResNetBKSettings

    return {NAME: ResNetBKSettings}


@hookimpl
def modelplug_inspect_model(path: Path) -> ModelInfo | None:
    """Inspect the newest checkpoint in the folder of a training run."""
    from resnet_bk.backend.run_folders import inspect_run

    return inspect_run(path)


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load a ResNet-BK model if this backend is meant."""
    if request.backend != NAME:
        return None
    from resnet_bk.backend.model import ResNetBKEngineModel

    return ResNetBKEngineModel(request)


@hookimpl
def modelplug_bundled_models() -> dict[str, Path]:
    """Give the demo model that comes with this plugin."""
    from resnet_bk.backend.demo_model import DEMO, demo_directory

    return {DEMO: demo_directory()}
