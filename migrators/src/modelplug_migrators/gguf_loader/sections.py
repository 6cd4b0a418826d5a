"""The sections of the engines: values fitted to what each engine's settings hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.carrying import carry, equal, make_room, shelve
from modelplug_migrators.gguf_loader.engines import settings_of, without_use
from modelplug_migrators.gguf_loader.llama import GGML_TYPES, KEYWORDS

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.gguf_loader.values import Setting

__all__ = ["carry_kv_type", "carry_setting", "fit_section"]

_ALL_LAYERS = {
    "ctransformers": "-1 means all layers here; ctransformers itself would read it as none, "
    "and its plugin translates",
    "llamafile": "-1 means all layers here; llamafile itself wants 999 for that, and its plugin translates",
}


def carry_setting(
    editor: ConfigEditor,
    path: KeyPath,
    section: KeyPath,
    engine: str,
    name: str,
    setting: Setting | None = None,
    under: KeyPath = (),
) -> None:
    """Carry one value into an engine's section, if the engine has a setting for it.

    Args:
        editor: The configuration.
        path: Where the value is.
        section: The engine's section.
        engine: The engine.
        name: The setting.
        setting: What values the old key took; None if it is the engine's own.
        under: The section of the extras for a value that can't go there.
    """
    target = settings_of(engine).get(name)
    if target is None:
        if name == "gpu_layers":
            _without_layers(editor, path, section)
        shelve(editor, path, without_use(engine, name), under=under)
        return
    steps = (target,) if setting is None else (setting, target)
    carry(editor, path, (*section, name), *steps, under=under)


def _without_layers(editor: ConfigEditor, path: KeyPath, section: KeyPath) -> None:
    """An engine that does not count layers can still be kept off the GPU."""
    place = (*section, "gpu_enabled")
    if equal(editor.get(path), 0) and not editor.has(place):
        make_room(editor, section)
        editor.add(place, False)
        editor.note(f"{spell(path)} = 0 keeps the model off the GPU, which {spell(place)} = false says", path)


def carry_kv_type(
    editor: ConfigEditor, above: KeyPath, section: KeyPath, engine: str, under: KeyPath = ()
) -> None:
    """Carry `type_k`, `type_v` and `f16_kv`, which together say one thing, into an engine's section.

    Args:
        editor: The configuration.
        above: Where these keys are.
        section: The engine's section.
        engine: The engine.
        under: The section of the extras for what can't go there.
    """
    place = (*section, "kv_type")
    present = [(*above, name) for name in ("type_k", "type_v", "f16_kv") if editor.has((*above, name))]
    found = _kv_type(editor, above)
    if found and "kv_type" in settings_of(engine) and not editor.has(place):
        make_room(editor, section)
        editor.add(place, found)
        for path in present:
            if path[-1] == "f16_kv" and len(present) > 1:
                shelve(editor, path, "type_k and type_v say it", under=under)
            else:
                editor.drop(path, why=f"{spell(place)} = {found} says it", into=place)
        return
    for path in present:
        why = KEYWORDS[str(path[-1])].why
        if "kv_type" not in settings_of(engine):
            why = without_use(engine, str(path[-1]))
        shelve(editor, path, why, under=under, warn="kv_type" in settings_of(engine))


def _kv_type(editor: ConfigEditor, above: KeyPath) -> str:
    """The type that these keys ask for, if it is one type for both; otherwise empty."""
    given = [editor.get((*above, name)) for name in ("type_k", "type_v") if editor.has((*above, name))]
    if given:
        same = len(given) == 2 and type(given[0]) is int and equal(given[0], given[1])
        return GGML_TYPES.get(given[0], "") if same else ""
    half = editor.get((*above, "f16_kv"))
    return ("f16" if half else "f32") if isinstance(half, bool) else ""


def fit_section(editor: ConfigEditor, section: KeyPath, engine: str) -> None:
    """Bring one section to the names and values that its engine's settings have.

    Names of llama-cpp-python are translated, arguments that were to be passed on are looked at too, and what
    the engine has no setting for goes to the extras.

    Args:
        editor: The configuration.
        section: The section.
        engine: The engine.
    """
    under = ("backends", engine)
    if editor.is_mapping((*section, "custom_args")):
        _unpack(editor, (*section, "custom_args"), section, engine, under)
    carry_kv_type(editor, section, section, engine, under)
    for name in editor.names(section):
        path = (*section, name)
        keyword = KEYWORDS.get(name)
        if (
            keyword is not None
            and keyword.place
            and "." not in keyword.place
            and name not in settings_of(engine)
        ):
            carry_setting(editor, path, section, engine, keyword.place, keyword.setting, under)
        else:
            carry_setting(editor, path, section, engine, name, under=under)
    layers = (*section, "gpu_layers")
    if equal(editor.get(layers), -1):
        editor.note(f"{spell(layers)}: {_ALL_LAYERS.get(engine, '-1 means all layers')}", layers)
    names = [name for name in ("dtype", "torch_dtype") if editor.get((*section, name)) is not None]
    if len(names) > 1 and not equal(editor.get((*section, "dtype")), editor.get((*section, "torch_dtype"))):
        shelve(editor, (*section, "torch_dtype"), "dtype says otherwise, and counts", under=under, warn=True)
    if not editor.names(section):
        editor.drop(section, why="there is nothing in it")


def _unpack(editor: ConfigEditor, above: KeyPath, section: KeyPath, engine: str, under: KeyPath) -> None:
    carry_kv_type(editor, above, section, engine, (*under, "custom_args"))
    for name in editor.names(above):
        keyword = KEYWORDS.get(name)
        if keyword is not None and keyword.place in settings_of(engine):
            carry_setting(
                editor,
                (*above, name),
                section,
                engine,
                keyword.place,
                keyword.setting,
                (*under, "custom_args"),
            )
    editor.prune(above)
