"""Keeps what modelplug's settings have no place for among the extras, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.config.schema import Settings
from modelplug.config.structure import find_problems
from modelplug_migrators.gguf_loader.carrying import shelve

if TYPE_CHECKING:
    from modelplug.config.structure import Problem
    from modelplug.migration.editing import ConfigEditor

__all__ = ["KNOWN", "OBJECTS", "PRIVATE", "SCHEMA", "check_objects", "shelve_leftovers"]

OBJECTS = ("generation", "deadlines")
"""Top-level settings that are objects, of which each entry is checked by itself."""

SCHEMA = frozenset(field.name for field in attrs.fields(Settings)) | {"extras"}
"""The names that modelplug's settings have at the top."""

_WINDOW = "modelplug has no window"
_FOLDERS = "models are known by name, wherever they lie (`modelplug models add`)"
_ADDONS = "modelplug has plugins, and none of these"
_MEMORY = "modelplug measures the free memory before it loads a model"
_PROMPTS = "a system prompt is given with each chat"
_CHOICE = "modelplug chooses among the backends from what it measures"

_REASONS = {
    **dict.fromkeys(
        (
            "theme", "ui", "window_size", "window_position", "window_maximized", "window.geometry",
            "show_splash", "restore_session", "max_recent_models",
        ),
        _WINDOW,
    ),
    **dict.fromkeys(("recent_models", "model_directory", "default_model_dir", "paths"), _FOLDERS),
    **dict.fromkeys(
        (
            "addons", "addon_settings", "addon_dir", "verify_addons", "sandbox_addons", "allow_addon_network",
            "auto_update_addons",
        ),
        _ADDONS,
    ),
    **dict.fromkeys(("max_memory_usage", "cpu_memory_limit", "gpu_memory_limit", "cache_size"), _MEMORY),
    **dict.fromkeys(
        ("default_system_prompt", "system_prompt", "chat_system_prompt", "summary_system_prompt"), _PROMPTS
    ),
    **dict.fromkeys(
        (
            "auto_optimize_backends", "backend_switching_mode", "hardware_overrides", "preferences",
            "enable_experimental", "backend_config_path", "gpu_device",
        ),
        _CHOICE,
    ),
    "ai_settings": "what modelplug has settings for is in generation",
    "model_parameters": "what modelplug has settings for is in generation",
    "log_level": "how much is shown is asked for on the command line",
    "last_modified": "the file's own date says it",
    "check_updates": "modelplug does not use the network by itself",
}  # fmt: skip


KNOWN = frozenset(_REASONS)
"""Keys of the older programs that modelplug has no setting for."""

PRIVATE = frozenset(name for name, reason in _REASONS.items() if reason == _PROMPTS)
"""Those of them that hold what a person wrote."""


def check_objects(editor: ConfigEditor) -> None:
    """Take out of `generation` and `deadlines` what is not allowed there."""
    for name in OBJECTS:
        if editor.has(name) and not editor.is_mapping(name):
            shelve(editor, (name,), "an object belongs here", warn=True)
            continue
        for inner in editor.names(name):
            value = {name: {inner: editor.get((name, inner))}}
            problems = find_problems(value, Settings)
            if problems:
                shelve(editor, (name, inner), _demand(problems), under=(name,), warn=True)


def shelve_leftovers(editor: ConfigEditor) -> None:
    """Keep every top-level key among the extras that the settings do not have, or not with this value."""
    for name in editor.names():
        if name == "version" or name in editor.extras:
            continue
        if name not in SCHEMA:
            known = _REASONS.get(name)
            shelve(editor, (name,), known or "modelplug has no such setting", warn=known is None)
        elif name not in ("backends", *OBJECTS):
            problems = find_problems({name: editor.get(name)}, Settings)
            if problems:
                shelve(editor, (name,), _demand(problems), warn=True)


def _demand(problems: list[Problem]) -> str:
    """Why a value can't stay where it is."""
    first = problems[0]
    return "there is no such setting" if first.kind == "unknown" else f"it must be {first.allowed}"
