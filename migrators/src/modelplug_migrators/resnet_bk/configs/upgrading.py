"""Brings a configuration of 0.9, or of any earlier version, to 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.bases import Layers
from modelplug_migrators.resnet_bk.configs.consistency import complete
from modelplug_migrators.resnet_bk.configs.derived import revalue
from modelplug_migrators.resnet_bk.configs.entries import carry, make_section
from modelplug_migrators.resnet_bk.configs.joining import join_names, report_disagreements
from modelplug_migrators.resnet_bk.configs.leftovers import shelve_leftovers
from modelplug_migrators.resnet_bk.configs.moving import MOVERS
from modelplug_migrators.resnet_bk.configs.numbers import respell_numbers
from modelplug_migrators.resnet_bk.configs.places import entries_in, value_at
from modelplug_migrators.resnet_bk.configs.quantization import gather_quantization
from modelplug_migrators.resnet_bk.configs.schema import BASE, MARK, SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME
from modelplug_migrators.resnet_bk.configs.shelving import prune, unshelve
from modelplug_migrators.resnet_bk.configs.work import Work
from modelplug_migrators.resnet_bk.versions import V1_0

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["bring_to_1_0"]


def bring_to_1_0(editor: ConfigEditor, root: KeyPath, context: StepContext) -> None:
    """Give every setting its name and place in 1.0, and keep the rest among the extras.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        context: What a step may know besides.
    """
    respell_numbers(editor)
    for section in SECTIONS:  # all of them, so that they come to stand in this order
        make_section(editor, (*root, section))
    unshelve(editor, root)
    work = Work(editor, root, Layers.of(value_at(editor.value, root), context.read))
    join_names(editor, root, V1_0)
    report_disagreements(editor, root)
    revalue(work)
    gather_quantization(editor, root)
    for section in SECTIONS:
        _fill(work, section)
    shelve_leftovers(editor, root)
    complete(work)
    for section in SECTIONS:
        prune(editor, (*root, section))
    _tell_base(editor, root, context)


def _fill(work: Work, section: str) -> None:
    """Bring everything that belongs to a section there, in the order of the file."""
    for path in list(entries_in(work.editor.value, work.root)):
        name = str(path[-1])
        goes_to, move = MOVERS.get(name, ("", None))
        setting = BY_NAME.get(name)
        if not work.editor.has(path):
            continue  # what came before it took it along
        if move is not None:
            if goes_to == section:
                move(work, path)
        elif setting is not None and setting.place[0] == section:
            carry(work.editor, work.root, path, setting)


def _tell_base(editor: ConfigEditor, root: KeyPath, context: StepContext) -> None:
    """Say what has to become of the configuration that this one takes over from."""
    name = editor.get((*root, BASE))
    if name is None:
        return
    found = context.read(name) if isinstance(name, str) else None
    if not isinstance(found, dict):
        editor.todo(
            f"{spell((*root, BASE))} names {name}, which is not there or can't be understood; what it says "
            "was not known here",
            (*root, BASE),
        )
    elif MARK not in found:
        editor.warn(
            f"{name}, from which this one takes over what it does not say, is of an earlier version too",
            (*root, BASE),
            advice="Migrate both together.",
        )
