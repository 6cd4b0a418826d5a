"""Settings: one JSON file, the environment and the command line, in that order of increasing say."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelplug.config.manager import ConfigManager as ConfigManager
    from modelplug.config.schema import Settings as Settings
    from modelplug.config.validation import ConfigValidator as ConfigValidator
    from modelplug.config.validation import Issue as Issue
    from modelplug.config.validation import ValidationResult as ValidationResult

# A worker process structures settings without ever reading a file: it must not pay for the rest.
_HOME_OF = {
    "ConfigManager": "modelplug.config.manager",
    "ConfigValidator": "modelplug.config.validation",
    "Issue": "modelplug.config.validation",
    "Settings": "modelplug.config.schema",
    "ValidationResult": "modelplug.config.validation",
}

__all__ = ["ConfigManager", "ConfigValidator", "Issue", "Settings", "ValidationResult"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
