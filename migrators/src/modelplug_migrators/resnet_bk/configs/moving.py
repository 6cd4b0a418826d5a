"""Settings that move to another place with another value, each in its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelplug.config.structure import find_problems, shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.derived import as_flag
from modelplug_migrators.resnet_bk.configs.entries import find, find_setting, make_section, put
from modelplug_migrators.resnet_bk.configs.schema import RecoverySection
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME
from modelplug_migrators.resnet_bk.configs.shelving import prune, shelve
from modelplug_migrators.resnet_bk.configs.work import as_training

if TYPE_CHECKING:
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.resnet_bk.configs.work import Work

__all__ = ["MOVERS"]

_SCHEDULES = {
    **dict.fromkeys(("cosine", "cosine_with_warmup", "cosine_annealing", "cosineannealinglr"), "cosine"),
    **dict.fromkeys(("constant", "constant_with_warmup", "none"), "constant"),
    **dict.fromkeys(("one-cycle", "one_cycle", "onecycle", "onecyclelr"), "one-cycle"),
}
_TYPES = {
    "auto": "auto",
    **dict.fromkeys(("bf16", "bfloat16", "bf16-mixed"), "bfloat16"),
    **dict.fromkeys(("fp16", "float16", "half", "16-mixed"), "float16"),
    **dict.fromkeys(("fp32", "float32", "no", "none", "32"), "float32"),
}


def _evaluation(work: Work, path: KeyPath) -> None:
    """How long an evaluation takes is counted in sequences."""
    steps = as_training(work.editor.get(path), "evaluation_windows")
    if steps is not None and work.layers.said("eval_interval") is None:
        why = "without eval_interval it says how often, and not how long"
        work.editor.note(f"{spell(path)}: {why}", path)
        put(work.editor, work.root, path, ("training", "evaluate_every"), steps, why=why)
    elif steps is None or work.micro_batch is None:
        shelve(work.editor, path, "1.0 counts sequences, and the size of a batch is not known")
    else:
        place = ("training", "evaluation_windows")
        why = f"{work.micro_batch} sequences, {steps} times"
        put(work.editor, work.root, path, place, steps * work.micro_batch, why=why)


def _warmup(work: Work, path: KeyPath) -> None:
    """How long the learning rate rises is a share of the steps."""
    rise, steps = work.editor.get(path), work.number("steps")
    is_count = isinstance(rise, int) and not isinstance(rise, bool)
    if is_count and steps and 0 <= rise <= steps:
        why = f"{rise} of {steps} steps, as a share"
        put(work.editor, work.root, path, ("training", "warmup"), _share(rise, steps), why=why)
        return
    why = "it is a share of the steps in 1.0, and max_steps does not say how many there are"
    if is_count and steps:
        why = f"it is more than the {steps} steps there are"
    kept = shelve(work.editor, path, why)
    work.editor.todo(
        f"{spell(path)} = {shorten(rise)}: {why}; say it in training.warmup (0.05 if you do not)", kept
    )


def _last_rate(work: Work, path: KeyPath) -> None:
    """The last learning rate is a share of the highest."""
    highest, last = work.number("learning_rate"), as_training(work.editor.get(path), "final_learning_rate")
    if not highest or last is None or last > highest:
        shelve(work.editor, path, "it is a share of learning_rate in 1.0, which does not fit it")
        return
    why = f"{last!r} as a share of {highest!r}"
    place = ("training", "final_learning_rate")
    put(work.editor, work.root, path, place, _share(last, highest), why=why)


def _share(part: float, whole: float) -> float:
    """A share, without the noise that dividing adds in the last digits."""
    return float(f"{part / whole:.12g}")


def _schedule(work: Work, path: KeyPath) -> None:
    word = work.editor.get(path)
    known = _SCHEDULES.get(word.lower()) if isinstance(word, str) else None
    if known is not None:
        put(work.editor, work.root, path, ("training", "schedule"), known)
        return
    kept = shelve(work.editor, path, "1.0 has one-cycle, cosine and constant")
    work.editor.warn(
        f"{spell(path)} = {shorten(word)}: 1.0 has one-cycle (which it takes now), cosine and constant; it "
        f"is kept as {spell(kept)}",
        kept,
        nearest="cosine",
    )


def _precision(work: Work, path: KeyPath) -> None:
    """Whether and how precision is mixed is one word."""
    value = work.editor.get(path)
    found = _precision_of(value)
    kind = find(work.editor, work.root, "mixed_precision_dtype")
    if kind is not None:
        word = _precision_of(work.editor.get(kind))
        if found in (None, "float32") or word is None:
            why = "1.0 has bfloat16 and float16" if word is None else "precision is not mixed"
            shelve(work.editor, kind, why)
        else:
            found = word
            work.editor.drop(kind, why=f"{spell(path)} says it", into=path)
    if found is None:
        kept = shelve(work.editor, path, "1.0 has auto, float32, bfloat16 and float16")
        work.editor.warn(
            f"{spell(path)} = {shorten(value)} is no precision; it is kept as {spell(kept)}", kept
        )
        return
    why = "" if value == found else f"{shorten(value)} is called {found}"
    put(work.editor, work.root, path, ("training", "precision"), found, why=why)


def _kind_of_precision(work: Work, path: KeyPath) -> None:
    """The type alone says that precision is mixed."""
    if find_setting(work.editor, work.root, "precision") is not None:
        return  # which takes care of it
    word = _precision_of(work.editor.get(path))
    if word is None:
        shelve(work.editor, path, "1.0 has bfloat16 and float16")
    else:
        put(work.editor, work.root, path, ("training", "precision"), word)


def _precision_of(value: Any) -> str | None:
    flag = as_flag(value)
    if isinstance(flag, bool):
        return "auto" if flag else "float32"
    return _TYPES.get(value.lower()) if isinstance(value, str) else None


def _explosion(work: Work, path: KeyPath) -> None:
    """Too large a gradient was, and is, one of so many times the median."""
    editor, section = work.editor, (*work.root, "training", "recovery")
    place = (*section, "gradient_factor")
    if find_problems({"gradient_factor": editor.get(path)}, RecoverySection) or editor.has(place):
        shelve(editor, path, f"{spell(place)} says it" if editor.has(place) else "it must be at least 1")
        return
    make_section(editor, section)
    editor.move(path, place)
    prune(editor, path[:-1] if len(path) > len(work.root) + 1 else ())


def _blend(work: Work, path: KeyPath) -> None:
    """`use_hybrid_gradient` is `grad_blend`."""
    value = as_flag(work.editor.get(path))
    if not isinstance(value, bool):
        work.editor.error(f"{spell(path)} = {shorten(value)}: it must be true or false", path)
        return
    blend = 0.5 if value else 0.0
    why = f"deprecated: grad_blend = {blend} says it"
    work.editor.note(f"{spell(path)} is {why}", path)
    other = find_setting(work.editor, work.root, "grad_blend")
    if other is not None and other != (*work.root, "model", "grad_blend"):
        put(work.editor, work.root, other, ("model", "grad_blend"), work.editor.get(other))
    put(work.editor, work.root, path, ("model", "grad_blend"), blend, why=why)


MOVERS: dict[str, tuple[str, Callable[[Work, KeyPath], None]]] = {
    "use_hybrid_gradient": ("model", _blend),
    "eval_steps": ("training", _evaluation),
    "warmup_steps": ("training", _warmup),
    "min_lr": ("training", _last_rate),
    "mixed_precision_dtype": ("training", _kind_of_precision),
    "gradient_explosion_threshold": ("training", _explosion),
    **dict.fromkeys(BY_NAME["schedule"].names, ("training", _schedule)),
    **dict.fromkeys(BY_NAME["precision"].names, ("training", _precision)),
}
"""What moves a setting, and the section it goes to, by the setting's name."""
