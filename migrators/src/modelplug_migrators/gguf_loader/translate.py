"""Carries the keys of one-engine programs into the multi-backend layout, whichever layouts they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.backend_set import translate_backend_set
from modelplug_migrators.gguf_loader.carrying import carry, make_room, put_first, shelve
from modelplug_migrators.gguf_loader.choice import BY_DEFAULT, Choice, choose_engine
from modelplug_migrators.gguf_loader.engines import NAMES_IN_1, engine_named
from modelplug_migrators.gguf_loader.rules import ENGINE_KEYS, RULES, SECTION, Rule
from modelplug_migrators.gguf_loader.sections import carry_kv_type, carry_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["bring_to_1", "section_named", "translate_flat"]

_AUTOMATIC = "it leaves the choice to the program, as leaving the key out does"
_KV_TYPE_KEYS = (("type_k",), ("type_v",), ("f16_kv",))


def translate_flat(
    editor: ConfigEditor,
    context: StepContext,
    *,
    names: Mapping[str, str] = NAMES_IN_1,
    by_default: str = BY_DEFAULT,
    always_prefer: bool = False,
) -> None:
    """Carry every key of a one-engine layout to its place in a layout with a section per engine.

    Args:
        editor: The configuration.
        context: What the user decided, and how to look at a model.
        names: What engines are called in the layout that is made.
        by_default: The engine that settings are for if nothing says which.
        always_prefer: Whether the engine is named even if no setting is for it.
    """
    rules = [rule for rule in RULES if editor.has(rule.path) and rule.path != rule.place]
    kv_type = any(editor.has(path) for path in _KV_TYPE_KEYS)
    for_engine = kv_type or any(rule.place[:1] == (SECTION,) for rule in rules)
    named = any(editor.has(key) for key in ENGINE_KEYS[1:])
    if for_engine or named or always_prefer:
        choice = choose_engine(editor, context, by_default)
        section = section_named(editor, choice.engine, names)
        for rule in rules:
            _apply(editor, rule, section, choice.engine)
        carry_kv_type(editor, (), section, choice.engine)
        _prefer(editor, choice, names, wanted=for_engine or always_prefer)
    else:
        for rule in rules:
            _apply(editor, rule, (), "")
    for emptied in ("ai_settings", "model_parameters"):
        editor.prune(emptied)
    # Rules that stay in place are checked last: what they hold may have come from another key.
    for rule in RULES:
        if rule.path == rule.place and editor.has(rule.path):
            carry(editor, rule.path, rule.place, rule.setting)


def section_named(editor: ConfigEditor, engine: str, names: Mapping[str, str]) -> KeyPath:
    """Where an engine's section is: under any of its names if there is one, else under the usual one."""
    found = next((name for name in editor.names("backends") if engine_named(name) == engine), None)
    return ("backends", found or names.get(engine, engine))


def _apply(editor: ConfigEditor, rule: Rule, section: KeyPath, engine: str) -> None:
    if not rule.place:
        shelve(editor, rule.path, f"{rule.why}; no effect")
    elif rule.place[0] == SECTION:
        carry_setting(editor, rule.path, section, engine, str(rule.place[1]), rule.setting)
    elif rule.place == ("gpu_enabled",) and editor.get(rule.path) == "auto":
        editor.drop(rule.path, why=_AUTOMATIC)
    else:
        carry(editor, rule.path, rule.place, rule.setting)


def _prefer(editor: ConfigEditor, choice: Choice, names: Mapping[str, str], *, wanted: bool) -> None:
    """Say once which engine comes first, and account for every key that said it before."""
    place = ("preferred_backend",)
    if choice.automatic:
        _drop_automatic(editor)
    elif wanted or choice.key:
        name = names.get(choice.engine, choice.engine)
        if choice.key and choice.key != place and not editor.has(place):
            editor.move(choice.key, place)
        before = engine_named(editor.get(place))
        if editor.has(place) and not before:
            shelve(editor, place, "it names no backend there is", warn=True)
        if before != choice.engine:
            told = (
                f"{spell(place)} was {before}, and becomes {name}"
                if before
                else f"{spell(place)} becomes {name}"
            )
            editor.note(f"{told}: {choice.reason}", place)
        put_first(editor, place, name)
    for key in ENGINE_KEYS[1:]:
        if not editor.has(key):
            continue
        value = editor.get(key)
        if value is None or value == "auto":
            editor.drop(key, why=_AUTOMATIC)
        elif engine_named(value) and engine_named(value) == engine_named(editor.get(place)):
            editor.drop(key, why=f"{spell(place)} says it", into=place)
        else:
            why = f"{spell(place)} counts" if engine_named(value) else "it names no backend there is"
            shelve(editor, key, why, warn=True)


def _drop_automatic(editor: ConfigEditor) -> None:
    for key in ENGINE_KEYS:
        if editor.get(key) == "auto":
            editor.drop(key, why=_AUTOMATIC)


def bring_to_1(
    editor: ConfigEditor, context: StepContext, *, by_default: str = BY_DEFAULT, always_prefer: bool = False
) -> None:
    """Bring a file of any older layout, or of several, to the multi-backend layout.

    Args:
        editor: The configuration.
        context: What the user decided, and how to look at a model.
        by_default: The engine that settings are for if nothing says which.
        always_prefer: Whether the engine is named even if no setting is for it.
    """
    if editor.has("version"):
        editor.drop("version", why="it is the version of a layout that is left; the new one has none")
    make_room(editor, ("backends",))
    translate_backend_set(editor)
    translate_flat(editor, context, by_default=by_default, always_prefer=always_prefer)
    editor.prune("preferences")
    if not editor.has("preferred_backend") and not editor.has("backends"):
        editor.add("backends", {})
