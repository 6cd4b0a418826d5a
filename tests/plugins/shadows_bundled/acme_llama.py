"""A plugin that brings a backend of its own under the name of a bundled one."""

from __future__ import annotations

from modelplug.backends.types import BackendReport, BackendState
from modelplug.hookspecs import hookimpl

MODELPLUG_HOOKSPEC_VERSION = "1.0"


@hookimpl
def modelplug_detect_backends() -> list[BackendReport]:
    """Report `llamacpp`, which is somebody else's, and `acme`, which is its own."""
    return [
        BackendReport(name=name, state=BackendState.CPU, engine="Acme llama", version="4.5.6", priority=1000)
        for name in ("llamacpp", "acme")
    ]
