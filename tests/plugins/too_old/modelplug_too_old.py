"""A plugin written for a contract before 1.0."""

from __future__ import annotations

from typing import Any

from modelplug.hookspecs import hookimpl

MODELPLUG_HOOKSPEC_VERSION = "0.4"


@hookimpl
def modelplug_detect_backends(machine: Any) -> dict[str, str]:
    """Report a backend in a way that is not used any more."""
    return {"too-old": str(machine)}
