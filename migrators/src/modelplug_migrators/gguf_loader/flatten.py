"""Carries the settings of one backend back to the keywords of llama-cpp-python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.carrying import shelve
from modelplug_migrators.gguf_loader.choice import BY_DEFAULT, OPTION
from modelplug_migrators.gguf_loader.engines import KV_TYPES, engine_named
from modelplug_migrators.gguf_loader.llama import CERTAIN, GGML_TYPES, KEYWORDS, SAMPLING

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["flatten"]

_KEYWORD_OF = {
    keyword.place: name
    for name, keyword in {**KEYWORDS, **SAMPLING}.items()
    if keyword.place and keyword.place not in ("kv_type", "model_path")
}
_SAID_BY_NULL = {"context_size": 0}


def flatten(editor: ConfigEditor, context: StepContext) -> None:
    """Bring a multi-backend configuration with settings for one backend to flat keywords.

    Args:
        editor: The configuration.
        context: What the user decided.
    """
    section = _chosen(editor, context)
    if section is None:
        return
    for name in editor.names("backends"):
        other = ("backends", name)
        if other != section:
            shelve(editor, other, "a flat file has room for one backend", under=("backends",))
    _flatten_section(editor, section)
    _flatten_generation(editor)
    _unshelve(editor)
    preferred = ("preferred_backend",)
    if engine_named(editor.get(preferred)) == BY_DEFAULT:
        editor.drop(preferred, why="it is the one that flat files are for if they name none")
    elif editor.has(preferred) and not editor.has("backend"):
        editor.rename(preferred, "backend")
    if editor.has("backends") and not editor.names("backends"):
        editor.drop("backends", why="it is empty")
    if not CERTAIN.intersection(editor.names()):
        editor.error("there is nothing in it that a flat file of llama-cpp-python could say")


def _chosen(editor: ConfigEditor, context: StepContext) -> KeyPath | None:
    """The section that is carried over; None if it is not clear which."""
    names = [name for name in editor.names("backends") if editor.names(("backends", name))]
    wanted = engine_named(context.options.get(OPTION, ""))
    if wanted:
        names = [name for name in names if engine_named(name) == wanted]
    if len(names) > 1:
        editor.error(
            f"it has settings for {' and '.join(names)}, and a flat file has room for one: "
            f"say which with the option {OPTION}"
        )
        return None
    preferred = engine_named(editor.get("preferred_backend"))
    if names and preferred and not wanted and engine_named(names[0]) != preferred:
        editor.error(
            f"it prefers {preferred}, has settings for {names[0]}, and a flat file has room for one: "
            f"say which with the option {OPTION}"
        )
        return None
    return ("backends", names[0]) if names else ()


def _flatten_section(editor: ConfigEditor, section: KeyPath) -> None:
    if not section:
        return
    _flatten_kv_type(editor, section)
    for name in editor.names(section):
        path, keyword = (*section, name), _KEYWORD_OF.get(name, "")
        if not keyword or editor.has(keyword):
            shelve(editor, path, "a flat file has no such keyword", under=section, quiet=not keyword)
            continue
        value = editor.get(path)
        if value is None and name in ("gpu_layers", "batch_size", "ubatch_size"):
            shelve(editor, path, "no keyword says that the program chooses", under=section, warn=True)
            continue
        editor.move(path, keyword)
        if value is None and name in _SAID_BY_NULL:
            editor.set(keyword, _SAID_BY_NULL[name])
    editor.prune(section)
    if editor.has(section):
        editor.drop(section, why="it is empty")


def _flatten_kv_type(editor: ConfigEditor, section: KeyPath) -> None:
    path = (*section, "kv_type")
    name = editor.get(path)
    if isinstance(name, str) and name in KV_TYPES and not {"type_k", "type_v"}.intersection(editor.names()):
        number = next(number for number, known in GGML_TYPES.items() if known == name)
        editor.add("type_k", number)
        editor.add("type_v", number)
        editor.drop(path, why=f"type_k and type_v = {number} say it", into="type_k")


def _flatten_generation(editor: ConfigEditor) -> None:
    for name in editor.names("generation"):
        path, keyword = ("generation", name), _KEYWORD_OF.get(f"generation.{name}", "")
        if not keyword or editor.has(keyword):
            continue
        if editor.get(path) is None:
            editor.drop(path, why=f"leaving {keyword} out says the same as {spell(path)} = null")
        else:
            editor.move(path, keyword)
    editor.prune("generation")


def _unshelve(editor: ConfigEditor) -> None:
    """Bring the keywords back that had no effect on the backend."""
    for name in editor.names(editor.extras):
        path = (*editor.extras, name)
        if (name in KEYWORDS or name in SAMPLING) and not editor.has(name):
            editor.move(path, name)
    editor.prune(editor.extras)
