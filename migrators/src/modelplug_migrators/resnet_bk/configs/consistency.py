"""Makes sure that the settings of a migrated model go together, and writes out what defaults would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.relations import contradictions, divisor, idle_settings
from modelplug_migrators.resnet_bk.configs.schema import BASE, ModelSection

if TYPE_CHECKING:
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.resnet_bk.configs.work import Work

__all__ = ["complete"]

_OLDER_DEFAULTS = {"num_experts": "4, and is 0", "dropout": "0.1, and is 0", "n_seq": "128, and is 2048"}


def complete(work: Work) -> None:
    """Write out what has to be said for the model to be built, and for the training to be the same.

    Args:
        work: The configuration, all settings in their places.
    """
    editor, model = work.editor, (*work.root, "model")
    _experts(work, model)
    _heads(work, model)
    _length(work, model)
    _tell_defaults(work, model)
    _tell_idle(work, model)
    for name, message in contradictions({**_said(work), **editor.get(model, {})}):
        editor.error(message, (*model, name) if editor.has((*model, name)) else ())


def _said(work: Work) -> dict[str, Any]:
    """What the configuration and its bases say of the settings that have to go together."""
    names = ("d_model", "n_layers", "num_experts", "top_k", "expand", "value_dim", "feed_forward", "mixer")
    found = {name: work.layers.said(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _experts(work: Work, model: KeyPath) -> None:
    """A model with experts chose one of them, with a linear gate, unless it was told otherwise."""
    editor, path = work.editor, (*model, "num_experts")
    experts = editor.get(path)
    if type(experts) is not int or experts < 1:
        return
    if work.layers.said("top_k") is None:
        editor.add((*model, "top_k"), 1)
        editor.note("top_k was 1 unless it was given, and is 2 now: it is written out", path)
    if work.layers.said("use_scattering_router") is None:
        editor.add((*model, "use_scattering_router"), False)
        editor.note(
            "experts were chosen by a linear gate unless use_scattering_router was given, which is true now: "
            "it is written out",
            path,
        )


def _heads(work: Work, model: KeyPath) -> None:
    """Heads have to divide the width of the mixer."""
    editor, path = work.editor, (*model, "d_model")
    usual = ModelSection().value_dim
    width, expand = editor.get(path), work.layers.said("expand") or ModelSection().expand
    if type(width) is not int or type(expand) is not int or width < 1 or expand < 1:
        return
    fitting = divisor(width * expand, usual)
    if work.layers.said("value_dim") is None and fitting != usual:
        editor.add((*model, "value_dim"), fitting)
        editor.note(
            f"heads are {usual} wide unless value_dim says otherwise, and {usual} does not divide "
            f"{width * expand}: value_dim is {fitting}",
            path,
        )


def _length(work: Work, model: KeyPath) -> None:
    """Training takes its own length of a sequence, which the model's was before."""
    editor, length, training = work.editor, (*model, "n_seq"), (*work.root, "training")
    place = (*training, "sequence_length")
    is_for_training = editor.names(training) or editor.has((*work.root, BASE))
    if editor.has(length) and is_for_training and not editor.has(place):
        editor.add(place, editor.get(length))
        editor.note(
            f"{spell(place)} is new: it says how long sequences in training are, as n_seq did", length
        )


def _tell_idle(work: Work, model: KeyPath) -> None:
    asked = idle_settings(work.editor.get(model, {}))
    if asked:
        verb = "is a setting" if len(asked) == 1 else "are settings"
        work.editor.warn(f"{', '.join(asked)} {verb} that 1.0 keeps and does not follow", (*model, asked[0]))


def _tell_defaults(work: Work, model: KeyPath) -> None:
    if not work.editor.has((*model, "d_model")):
        return
    said = work.layers.said
    left_out = [f"{name} ({words})" for name, words in _OLDER_DEFAULTS.items() if said(name) is None]
    if said("vocab_size") is None:
        left_out.insert(0, "vocab_size (in training it is the tokenizer's)")
    if left_out:
        work.editor.note(
            f"not said here, so that defaults count, which were others before: {', '.join(left_out)}"
        )
