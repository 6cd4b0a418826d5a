"""Hugging Face transformers for modelplug: the hooks. Importing this module does not import the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest
    from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.0"

NAME = "transformers"


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> BackendReport:
    """Say whether transformers and torch are there, from package metadata alone."""
    from modelplug_transformers.detection import report

    return report(system)


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the settings of `backends.transformers`."""
    from modelplug_transformers.settings import TransformersSettings

    return {NAME: TransformersSettings}


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load with transformers if it is meant."""
    if request.backend != NAME:
        return None
    from modelplug_transformers.model import TransformersModel

    return TransformersModel(request)
