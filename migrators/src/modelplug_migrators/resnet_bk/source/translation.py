"""What becomes of the settings of one model: today's names, and what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source import settings
from modelplug_migrators.resnet_bk.source.edits import removals
from modelplug_migrators.resnet_bk.source.shapes import is_constant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug_migrators.resnet_bk.source.items import Item
    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["Translation", "translate"]

_SEED = "manual_seed"
_HYBRID = "use_hybrid_gradient"


@attrs.define
class Translation:
    """What becomes of some settings.

    Attributes:
        renamed: Settings with another name.
        removed: Settings that go.
        hybrid: The setting `use_hybrid_gradient`, which becomes `grad_blend`.
        seed: The setting `manual_seed`.
        names: The names there are afterwards.
        unknown: Names of settings that nothing stands for.
        twice: Names that would be there twice.
        warnings: What is probably not as the owner thinks.
    """

    renamed: dict[Item, str] = attrs.field(factory=dict)
    removed: list[Item] = attrs.field(factory=list)
    hybrid: Item | None = None
    seed: Item | None = None
    names: set[str] = attrs.field(factory=set)
    unknown: list[str] = attrs.field(factory=list)
    twice: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    @property
    def problem(self) -> str:
        """Why the settings can't be translated; empty if they can."""
        if self.unknown:
            return f"resnet_bk has no setting {', '.join(self.unknown)}"
        if self.twice:
            return f"{', '.join(self.twice)} would be given twice"
        return ""

    @property
    def touched(self) -> set[Item]:
        """The settings that change."""
        special = {item for item in (self.hybrid, self.seed) if item is not None}
        return {*self.renamed, *self.removed, *special}

    def write(self, program: Program, *, without: Sequence[Item] = ()) -> None:
        """Note the changes to the settings' names, and take out those that go.

        Args:
            program: The program.
            without: Settings that go besides.
        """
        for item, name in self.renamed.items():
            _relabel(program, item, name)
        if self.hybrid is not None:
            self._blend(program, self.hybrid)
        gone = [*self.removed, *without]
        for group in {id(item.group): item.group for item in gone}.values():
            spans = [program.span(node) for node in group]
            which = [index for index, node in enumerate(group) if any(item.node is node for item in gone)]
            program.edits.extend(removals(program.text, spans, which))

    def _blend(self, program: Program, item: Item) -> None:
        """`use_hybrid_gradient` was a blend of one half."""
        _relabel(program, item, "grad_blend")
        start, end = program.span(item.value)
        if is_constant(item.value, "True") or is_constant(item.value, "False"):
            program.edits.replace(start, end, "0.5" if is_constant(item.value, "True") else "0.0")
        else:
            program.edits.insert(start, "0.5 if ")
            program.edits.insert(end, " else 0.0")


def _relabel(program: Program, item: Item, name: str) -> None:
    if item.label is None:
        return
    start, end = program.span(item.label)
    quote = program.text[end - 1] if isinstance(item.label, cst.SimpleString) else ""
    program.edits.replace(start, end, f"{quote}{name}{quote}")


def translate(items: Sequence[Item]) -> Translation:
    """What becomes of settings.

    Args:
        items: The settings, as a program gives them.
    """
    made = Translation()
    values = {item.name: item.value for item in items}
    for item in items:
        _place(item, values, made)
    given = [made.renamed.get(item, item.name) for item in items if item not in made.removed]
    made.names = set(given) - {_SEED, _HYBRID}
    made.twice = sorted({name for name in given if given.count(name) > 1})
    if made.hybrid is not None:
        if "grad_blend" in made.names:
            made.removed.append(made.hybrid)
            made.hybrid = None
        else:
            made.names.add("grad_blend")
    return made


def _place(item: Item, values: dict[str, cst.BaseExpression], made: Translation) -> None:
    name = item.name
    if name == _SEED:
        made.seed = item
    elif name == _HYBRID:
        made.hybrid = item
    elif name == "use_semiseparable" and is_constant(item.value, "False"):
        made.removed.append(item)
        made.warnings.append(
            "use_semiseparable=False: the dense mode is gone, the model is semiseparable now"
        )
    elif name in settings.CURRENT:
        return
    elif name in settings.RENAMED:
        made.renamed[item] = settings.RENAMED[name]
    elif name in settings.DROPPED or _is_idle(item, values):
        made.removed.append(item)
    else:
        made.unknown.append(name)


def _is_idle(item: Item, values: dict[str, cst.BaseExpression]) -> bool:
    """Whether a setting that nothing stands for asks for nothing."""
    if is_constant(item.value, "False") or is_constant(item.value, "None"):
        return True
    switch = settings.DEPENDENT.get(item.name)
    return switch is not None and (switch not in values or is_constant(values[switch], "False"))
