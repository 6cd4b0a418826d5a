"""Settings whose values mean something else in 1.0, or nothing: they are worked out before anything moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.config.structure import shorten
from modelplug.migration.account import counted, spell
from modelplug_migrators.resnet_bk.configs.entries import find, find_setting
from modelplug_migrators.resnet_bk.configs.shelving import shelve
from modelplug_migrators.resnet_bk.configs.values import read
from modelplug_migrators.resnet_bk.configs.work import as_training

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.configs.work import Work

__all__ = ["revalue"]


def revalue(work: Work) -> None:
    """Work out the values that change where they stand.

    Args:
        work: The configuration, each setting under one name.
    """
    _batch(work)
    _clip(work)
    _kind(work)
    _dense(work)
    _seed(work)


def _batch(work: Work) -> None:
    """A batch is what an update takes, and no longer the part of it that is computed at once."""
    editor, root = work.editor, work.root
    batch, parts = find_setting(editor, root, "batch_size"), find_setting(editor, root, "accumulation")
    if parts is not None and parts[-1] == "accumulation":
        return
    size, count = work.micro_batch, work.number("accumulation")
    product = size * count if size and count else size
    if size is not None and product != size and (batch or parts):
        why = f"{counted(size, 'sequence')}, {count} times: 1.0 counts those of a whole update"
        path = batch or (*root, "training", "batch_size")
        editor.set(path, product, why=why)
        editor.note(f"{spell(path)} = {size} becomes {product}: {why}", path)
        steps = find_setting(editor, root, "steps")
        if steps is not None:
            editor.todo(
                "1.0 counts steps in updates; some programs before it counted the parts of a batch: look at "
                "training.steps",
                steps,
            )
    _effective(work, product)


def _effective(work: Work, product: int | None) -> None:
    """The size of a whole batch may have been said, too."""
    editor, path = work.editor, find(work.editor, work.root, "effective_batch_size")
    if path is None:
        return
    said = editor.get(path)
    batch = find_setting(editor, work.root, "batch_size")
    if batch is not None and as_training(said, "batch_size") == product:
        editor.drop(path, why=f"{spell(batch)} says the same", into=batch)
        return
    kept = shelve(editor, path, "batch_size and accumulation say otherwise, and count")
    editor.warn(
        f"{spell(path)} = {shorten(said)}, but batch_size times accumulation is {product}, which counts; it "
        f"is kept as {spell(kept)}",
        kept,
        advice=f"Set training.batch_size to {shorten(said)} if that is what you meant.",
    )


def _clip(work: Work) -> None:
    """No clipping was 0, and is null."""
    path = find_setting(work.editor, work.root, "gradient_clip")
    if path is None or work.editor.document.format == "toml":  # which has no null
        return
    value = work.editor.get(path)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        why = "0 left gradients as they are, which null says"
        work.editor.set(path, None, why=why)
        work.editor.note(f"{spell(path)}: {why}", path)


def _kind(work: Work) -> None:
    """There was more than one kind of model."""
    path = find(work.editor, work.root, "model_type")
    if path is not None and work.editor.get(path) not in ("standard", "resnet_bk"):
        work.editor.warn(
            f"{spell(path)} = {shorten(work.editor.get(path))} named a kind of model that 1.0 does not have: "
            "it builds its own",
            path,
        )


def _dense(work: Work) -> None:
    """The dense mode is gone."""
    path = find(work.editor, work.root, "use_semiseparable")
    if path is None or as_flag(work.editor.get(path)) is not False:
        return
    kept = shelve(work.editor, path, "the dense mode is gone")
    work.editor.warn(
        f"{spell(path)} = false asks for the dense mode, which went with 1.0; semiseparable matrices give "
        f"the same, and it is kept as {spell(kept)}",
        kept,
    )


def as_flag(value: Any) -> Any:
    """A value as a flag takes it; the value itself if it is none."""
    return read(value, "model", "use_cache").value


def _seed(work: Work) -> None:
    """`manual_seed` is `seed`, and for training only."""
    depths = (len(work.root) + 1, len(work.root) + 2)
    for path, _ in work.editor.document.tree.source_leaves():
        if path[-1:] == ("manual_seed",) and len(path) in depths:
            work.editor.note(
                f"{spell(path)} is deprecated: training.seed says it for training, and a program calls "
                "torch.manual_seed() itself",
                find_setting(work.editor, work.root, "seed") or (),
            )
