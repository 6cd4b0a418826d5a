"""The hooks of three engines that say what a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest

MODELPLUG_HOOKSPEC_VERSION = "1.0"
NAMES = ("alpha", "beta", "gamma")


@hookimpl
def modelplug_detect_backends() -> list[BackendReport]:
    """Report all of them, the first one first."""
    import attrs
    from speaking_settings import SpeakingSettings

    from modelplug.backends.types import BackendReport, BackendState

    return [
        BackendReport(
            name=name,
            state=BackendState.CPU,
            engine="A speaker",
            version="1.0",
            formats=("gguf",),
            settings=tuple(field.name for field in attrs.fields(SpeakingSettings)),
            priority=-1000 - place,
        )
        for place, name in enumerate(NAMES)
    ]


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """All take the same settings."""
    from speaking_settings import SpeakingSettings

    return dict.fromkeys(NAMES, SpeakingSettings)


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load the speaker."""
    if request.backend not in NAMES:
        return None
    from speaking_engine import Speaker

    return Speaker(request)
