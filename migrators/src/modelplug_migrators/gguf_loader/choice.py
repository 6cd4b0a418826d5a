"""Chooses the engine that settings of a one-engine program are for, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.engines import ENGINES, engine_named
from modelplug_migrators.gguf_loader.models import look_at
from modelplug_migrators.gguf_loader.rules import ENGINE_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = [
    "BY_DEFAULT",
    "OPTION",
    "Choice",
    "check_option",
    "choose_engine",
    "named_engine",
    "no_such_backend",
]

BY_DEFAULT = "ctransformers"
"""The engine that the guide of the multi-backend version translates settings for."""

OPTION = "backend"


@attrs.frozen(kw_only=True)
class Choice:
    """The engine that settings are translated for.

    Attributes:
        engine: Its name in modelplug.
        reason: Why this one.
        key: The key that names it; empty if none does.
        automatic: Whether a key says that the program should choose.
    """

    engine: str
    reason: str
    key: KeyPath = ()
    automatic: bool = False


def choose_engine(editor: ConfigEditor, context: StepContext, by_default: str = BY_DEFAULT) -> Choice:
    """The engine that the flat settings of a file are for.

    What the user decided counts most, then what the file says, then what can run the model it names.

    Args:
        editor: The configuration; it stays as it is.
        context: What the user decided, and how to look at a model.
        by_default: The engine if nothing says otherwise.
    """
    key, named, automatic = _named_in(editor.value)
    told = context.options.get(OPTION, "")
    if told:
        engine = engine_named(told)
        if engine:
            return Choice(engine=engine, reason=f"the option {OPTION} says so", key=key)
        editor.error(no_such_backend(told))
    if named:
        return Choice(engine=named, reason=f"{spell(key)} says so", key=key)
    engine = _only_section(editor)
    if engine:
        return Choice(engine=engine, reason="it is the one that has a section", automatic=automatic, key=key)
    reason = _unsuitable(editor, context, by_default)
    if reason:
        return Choice(engine="llamacpp", reason=reason, automatic=automatic, key=key)
    return Choice(
        engine=by_default,
        reason="the choice of the guide, and no key says otherwise",
        automatic=automatic,
        key=key,
    )


def no_such_backend(told: str) -> str:
    """What is wrong with an option that names no backend."""
    return f"the option {OPTION}={told} names no backend there is; there are {', '.join(sorted(ENGINES))}"


def check_option(editor: ConfigEditor, context: StepContext) -> None:
    """Say so if what the user decided has no effect on this file.

    Args:
        editor: The configuration, migrated.
        context: What the user decided.
    """
    told = context.options.get(OPTION, "")
    wanted = engine_named(told)
    if told and not wanted:
        if all(finding.message != no_such_backend(told) for finding in editor.findings):
            editor.error(no_such_backend(told))
    elif wanted and wanted != engine_named(editor.get("preferred_backend")):
        editor.note(
            f"the option {OPTION}={told} has no effect: the file has no settings for a single backend, "
            "and says itself what it prefers"
        )


def named_engine(values: Mapping[str, Any]) -> str:
    """The engine that a configuration of any layout names as the one to use; empty if it names none.

    Args:
        values: What the file holds.
    """
    return engine_named(_at(values, ("backends", "default"))) or _named_in(values)[1]


def _named_in(values: Mapping[str, Any]) -> tuple[KeyPath, str, bool]:
    """The key that names an engine, the engine, and whether a key says that the program should choose."""
    automatic: KeyPath = ()
    for key in ENGINE_KEYS:
        value = _at(values, key)
        engine = engine_named(value)
        if engine:
            return key, engine, False
        if value == "auto":
            automatic = automatic or key
    return automatic, "", bool(automatic)


def _at(values: object, path: KeyPath) -> Any:
    for step in path:
        values = values.get(step) if isinstance(values, dict) else None
    return values


def _only_section(editor: ConfigEditor) -> str:
    sections = {engine_named(name) for name in editor.names("backends")} - {""}
    return sections.pop() if len(sections) == 1 else ""


def _unsuitable(editor: ConfigEditor, context: StepContext, engine: str) -> str:
    """Why the model that the file names takes llama.cpp and not this engine; empty if nothing says so."""
    path = editor.get("model_path")
    model = None if engine == "llamacpp" else look_at(context, path)
    if model is None or engine in model.compatible_backends or "llamacpp" not in model.compatible_backends:
        return ""
    why = model.incompatible_backends.get(engine, f"{engine} is not among the backends that can run it")
    return f"{engine} can't run {shorten(path)} ({why}), and llamacpp can"
