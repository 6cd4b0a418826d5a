"""A plugin whose hooks return nonsense."""

from __future__ import annotations

from modelplug.hookspecs import hookimpl

MODELPLUG_HOOKSPEC_VERSION = "1.0"


@hookimpl
def modelplug_detect_backends() -> list[str]:
    """Return names in place of reports."""
    return ["nonsense"]


@hookimpl
def modelplug_backend_settings() -> int:
    """Return a number in place of classes."""
    return 42


@hookimpl
def modelplug_inspect_model() -> str:
    """Claim every file there is."""
    return "looks like a model to me"


@hookimpl
def modelplug_commands() -> list[object]:
    """Return something that is no command."""
    return [object()]
