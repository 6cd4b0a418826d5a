"""The hooks of an engine that fails on demand, and of its reliable sibling."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest

MODELPLUG_HOOKSPEC_VERSION = "1.0"
NAMES = ("misbehaving", "sound")


@hookimpl
def modelplug_detect_backends() -> list[BackendReport]:
    """Report both engines; nothing prefers them to a real one."""
    from modelplug.backends.types import BackendReport, BackendState

    return [
        BackendReport(
            name=name,
            state=BackendState.CPU,
            engine="An echo",
            version="1.0",
            formats=("gguf",),
            capabilities=frozenset({"chat"}),
            settings=tuple(_settings_names()),
            priority=-1000,
        )
        for name in NAMES
    ]


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Both take the same settings."""
    from misbehaving_settings import MisbehavingSettings

    return dict.fromkeys(NAMES, MisbehavingSettings)


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load the echo, or fail as the settings say."""
    if request.backend not in NAMES:
        return None
    if request.settings.get("at") == "import":
        # The engine's library misbehaves when it is imported, as one built for another processor does.
        os.environ["MISBEHAVING_IMPORT"] = request.settings["fault"]
    from misbehaving_engine import load

    model: Model = load(request)
    return model


def _settings_names() -> list[str]:
    import attrs
    from misbehaving_settings import MisbehavingSettings

    return [field.name for field in attrs.fields(MisbehavingSettings)]
