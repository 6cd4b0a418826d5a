"""llamafile for modelplug: the hooks. Importing this module starts nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest
    from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.0"

NAME = "llamafile"


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> BackendReport:
    """Say whether a llamafile program is there; nothing is run."""
    from modelplug_llamafile.detection import detect

    return detect(system, os.environ, Path.cwd())


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """The settings of `backends.llamafile`."""
    from modelplug_llamafile.settings import LlamafileSettings

    return {NAME: LlamafileSettings}


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load with a llamafile program if it is meant."""
    if request.backend != NAME:
        return None
    from modelplug_llamafile.loading import load

    return load(request)
