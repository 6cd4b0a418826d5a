"""Brings a configuration of 1.0 back to 0.9, where 0.9 can say what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.bases import Layers
from modelplug_migrators.resnet_bk.configs.entries import make_section
from modelplug_migrators.resnet_bk.configs.older import older_place
from modelplug_migrators.resnet_bk.configs.places import value_at
from modelplug_migrators.resnet_bk.configs.schema import SECTIONS, TrainingSection
from modelplug_migrators.resnet_bk.configs.settings import field_names
from modelplug_migrators.resnet_bk.configs.shelving import prune, shelve

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["bring_to_0_9"]

_NONE_IN_0_9 = "0.9 has no such setting"


def bring_to_0_9(editor: ConfigEditor, root: KeyPath, context: StepContext) -> None:
    """Give every setting its name, place and value in 0.9, and bring the extras back.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        context: What a step may know besides.
    """
    layers = Layers.of(value_at(editor.value, root), context.read, counted_whole=True)
    if not _can_go_back(editor, root):
        return
    kept = editor.get(editor.extras, {})
    _Training(editor, root, layers).go_back()
    for section in SECTIONS:
        for name in editor.names((*root, section)):
            _move_back(editor, root, section, name)
    _restore(editor, editor.extras, (), kept)
    for section in SECTIONS:
        prune(editor, (*root, section))


def _can_go_back(editor: ConfigEditor, root: KeyPath) -> bool:
    """Whether 0.9 has such a model."""
    path = (*root, "model", "mixer")
    mixer = editor.get(path)
    if mixer in (None, "diagonal-bidirectional"):
        return True
    editor.error(f"{spell(path)} = {shorten(mixer)}: 0.9 has no such mixer", path)
    return False


def _restore(editor: ConfigEditor, kept: KeyPath, place: KeyPath, values: Any) -> None:
    """Bring what was kept among the extras back to where it came from, if nothing stands there.

    Args:
        editor: The configuration.
        kept: Where it is kept.
        place: Where it came from.
        values: What was kept there at first; what came to it since stays.
    """
    first = {str(name): value for name, value in values.items()} if isinstance(values, dict) else {}
    for name in editor.names(kept):
        if name not in first:
            continue
        path, to = (*kept, name), (*place, name)
        if not editor.has(to):
            editor.move(path, to)
        elif editor.is_mapping(path) and editor.is_mapping(to):
            _restore(editor, path, to, first[name])
    prune(editor, kept)


def _move_back(editor: ConfigEditor, root: KeyPath, section: str, name: str) -> None:
    path = (*root, section, name)
    if section == "quantization" or name not in field_names(section):
        return
    older = older_place(section, name)
    if older is None:
        shelve(editor, path, _NONE_IN_0_9)
    elif path != (*root, *older) and not editor.has((*root, *older)):
        if len(older) > 1:
            make_section(editor, (*root, older[0]))
        editor.move(path, (*root, *older))


class _Training:
    """The settings of training whose values mean something else in 0.9.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        layers: What it says, and those it takes over from.
    """

    def __init__(self, editor: ConfigEditor, root: KeyPath, layers: Layers) -> None:
        self.editor = editor
        self.root = root
        self.section = (*root, "training")
        self.layers = layers

    def go_back(self) -> None:
        """Work out their values."""
        micro = self._batch()
        self._warmup()
        self._last_rate()
        self._windows(micro)
        self._precision()
        self._length()
        self._gradients()

    def _known(self, name: str) -> Any:
        said = self.layers.said(name)
        return getattr(TrainingSection(), name) if said is None else said

    def _has(self, name: str) -> bool:
        return self.editor.has((*self.section, name))

    def _rename(self, name: str, older: str, value: Any) -> None:
        path = (*self.section, name)
        if self.editor.has((*self.section, older)):
            shelve(self.editor, path, f"{older} says it")
            return
        self.editor.rename(path, older)
        self.editor.set((*self.section, older), value)

    def _batch(self) -> int | None:
        """A batch was the part of it that is computed at once."""
        batch, parts = self._known("batch_size"), self._known("accumulation")
        if type(batch) is not int or type(parts) is not int or parts < 1:
            return None
        path = (*self.section, "batch_size")
        if batch % parts:
            self.editor.error(f"{spell(path)} = {batch} can't be divided into {parts} equal parts", path)
            return None
        if self.editor.has(path):
            self.editor.set(path, batch // parts)
        return batch // parts

    def _warmup(self) -> None:
        share, steps = self.editor.get((*self.section, "warmup")), self._known("steps")
        if share is None:
            return
        if type(steps) is int:
            self._rename("warmup", "warmup_steps", round(share * steps))
        else:
            self._rename("warmup", "warmup_ratio", share)

    def _last_rate(self) -> None:
        share, rate = self.editor.get((*self.section, "final_learning_rate")), self._known("learning_rate")
        if share is not None:
            self._rename("final_learning_rate", "min_lr", float(f"{share * rate:.12g}"))

    def _windows(self, micro: int | None) -> None:
        path = (*self.section, "evaluation_windows")
        windows = self.editor.get(path)
        if windows is None:
            return
        if micro and windows % micro == 0 and self._known("evaluate_every") is not None:
            self._rename("evaluation_windows", "eval_steps", windows // micro)
        else:
            shelve(self.editor, path, _NONE_IN_0_9)

    def _precision(self) -> None:
        kind = self.editor.get((*self.section, "precision"))
        if kind is None:
            return
        self._rename("precision", "mixed_precision", kind != "float32")
        if kind in ("bfloat16", "float16") and not self._has("mixed_precision_dtype"):
            self.editor.add((*self.section, "mixed_precision_dtype"), kind)

    def _length(self) -> None:
        """The model's length was that of training, too."""
        path, length = (*self.section, "sequence_length"), (*self.root, "model", "n_seq")
        if self._has("sequence_length") and self.editor.get(path) == self.editor.get(length):
            self.editor.drop(path, why=f"{spell(length)} says the same", into=length)

    def _gradients(self) -> None:
        clip = (*self.section, "gradient_clip")
        if self.editor.has(clip) and self.editor.get(clip) is None:
            self.editor.set(clip, 0.0, why="null left gradients as they are, which 0 says")
        factor = (*self.section, "recovery", "gradient_factor")
        place = (*self.root, "monitoring", "gradient_explosion_threshold")
        if self.editor.has(factor) and not self.editor.has(place):
            make_section(self.editor, place[:-1])
            self.editor.move(factor, place)
            prune(self.editor, factor[:-1])
