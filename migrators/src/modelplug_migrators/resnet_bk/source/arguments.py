"""Fits the arguments of a call to what a function takes today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.source.edits import removals
from modelplug_migrators.resnet_bk.source.shapes import is_constant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import libcst as cst

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["Parameters", "fit", "misfit", "named"]


@attrs.frozen
class Parameters:
    """What a function took, and what it takes.

    Attributes:
        old: The parameters it had, in their order.
        kept: The positional parameters it has, in their order.
        keywords: The parameters it has that must be named.
        renamed: Parameter it had -> what it is called.
        dropped: Parameters whose values nothing depends on any more.
    """

    old: Sequence[str]
    kept: Sequence[str]
    keywords: Collection[str] = ()
    renamed: Mapping[str, str] = attrs.field(factory=dict)
    dropped: Collection[str] = ()

    def takes(self, name: str) -> bool:
        """Whether a parameter it had is one still."""
        today = self.renamed.get(name, name)
        return today in self.kept or today in self.keywords


def named(call: cst.Call, order: Sequence[str]) -> dict[str, cst.Arg] | None:
    """The arguments of a call by the names of parameters; None if they can't be told apart."""
    found: dict[str, cst.Arg] = {}
    for position, each in enumerate(call.args):
        if each.star or (not each.keyword and position >= len(order)):
            return None
        found[each.keyword.value if each.keyword else order[position]] = each
    return found


def misfit(call: cst.Call, parameters: Parameters) -> str:
    """Why the arguments of a call can't be fitted to what its counterpart takes; empty if they can.

    Args:
        call: The call.
        parameters: What it took, and takes.
    """
    given = named(call, parameters.old)
    if given is None:
        return "what its arguments are can't be seen"
    for name, each in given.items():
        idle = (
            name in parameters.dropped or is_constant(each.value, "False") or is_constant(each.value, "None")
        )
        if not idle and not parameters.takes(name):
            return f"its counterpart in resnet_bk takes no {name}"
    return ""


def fit(program: Program, call: cst.Call, parameters: Parameters, *, without: Collection[str] = ()) -> None:
    """Change the arguments of a call to what its counterpart takes.

    Args:
        program: The program.
        call: The call, of which `misfit` says nothing.
        parameters: What it took, and takes.
        without: Parameters that go besides, without a word.
    """
    given = named(call, parameters.old) or {}
    gone = [name for name in given if name in without or not parameters.takes(name)]
    for position, (name, each) in enumerate(given.items()):
        today = parameters.renamed.get(name, name)
        if name in gone:
            continue
        if each.keyword and today != name:
            program.edits.replace(*program.span(each.keyword), today)
        elif not each.keyword and (position >= len(parameters.kept) or parameters.kept[position] != today):
            program.edits.insert(program.span(each)[0], f"{today}=")
    spans = [program.span(each) for each in call.args]
    which = [index for index, each in enumerate(call.args) if any(given[name] is each for name in gone)]
    program.edits.extend(removals(program.text, spans, which))
    told = [name for name in gone if name not in without]
    if told:
        program.note(f"{', '.join(told)}: gone, nothing depends on it any more", call)
