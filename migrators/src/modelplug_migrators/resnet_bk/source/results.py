"""What becomes of the result of a call that gives several things: one name, several, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.shapes import constant_key
from modelplug_migrators.resnet_bk.source.uses import lookups, result_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["constant_index", "is_discarded", "taken_apart", "targets", "treated_as_several"]


def is_discarded(program: Program, call: cst.Call) -> bool:
    """Whether nothing becomes of the result."""
    name = result_name(program, call)
    return isinstance(program.parent(call), cst.Expr) or (name is not None and name.value == "_")


def targets(program: Program, call: cst.Call) -> Sequence[cst.BaseElement] | None:
    """The names that a result is taken apart into where it is made; None if it is not taken apart there."""
    assign = program.parent(call)
    if isinstance(assign, cst.Assign) and len(assign.targets) == 1:
        target = assign.targets[0].target
        if isinstance(target, (cst.Tuple, cst.List)):
            return target.elements
    return None


def constant_index(node: cst.CSTNode | None) -> int | None:
    """The whole number that a subscript looks up; None for any other subscript."""
    key = constant_key(node)
    return key if isinstance(key, int) else None


def taken_apart(program: Program, name: cst.Name) -> list[int]:
    """Into how many things the value of a name is taken apart, each time that it is."""
    found = []
    for use in lookups(program, name):
        assign = program.parent(use)
        if isinstance(assign, cst.Assign) and assign.value is use:
            target = assign.targets[0].target
            if isinstance(target, (cst.Tuple, cst.List)):
                found.append(len(target.elements))
    return found


def treated_as_several(program: Program, name: cst.Name) -> bool:
    """Whether the value of a name is taken apart, or looked into by position, anywhere."""
    return bool(taken_apart(program, name)) or any(
        constant_index(program.parent(use)) is not None for use in lookups(program, name)
    )
