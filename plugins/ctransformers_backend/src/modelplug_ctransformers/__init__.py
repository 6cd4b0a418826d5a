"""ctransformers for modelplug: the hooks. Importing this module does not import the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest
    from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.0"

NAME = "ctransformers"


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> BackendReport:
    """Say whether the engine and a library for this processor are there, without importing it."""
    from modelplug_ctransformers.detection import report

    return report(system)


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the settings of `backends.ctransformers`."""
    from modelplug_ctransformers.settings import CtransformersSettings

    return {NAME: CtransformersSettings}


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load with ctransformers if it is meant."""
    if request.backend != NAME:
        return None
    from modelplug_ctransformers.model import CtransformersModel

    return CtransformersModel(request)
