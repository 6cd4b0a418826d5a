"""What a program does with the objects that some calls make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source.shapes import is_own_attribute
from modelplug_migrators.resnet_bk.source.subject import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MODULE", "Use", "argument", "lookups", "positional", "result_name", "settle", "uses_of"]

MODULE = frozenset(
    {
        "bfloat16", "buffers", "cpu", "cuda", "double", "eval", "float", "half", "load_state_dict",
        "named_parameters", "parameters", "requires_grad_", "state_dict", "to", "train", "training",
        "zero_grad",
    }
)  # fmt: skip
"""Members that every module of PyTorch has."""


@attrs.frozen(eq=False)
class Use:
    """One thing that is done with an object.

    Attributes:
        member: The method or attribute; `forward` where the object itself is called, and empty where it goes
            somewhere else.
        node: The object, as it stands there.
        whole: The object with the member; the object itself if there is none.
        call: The call of the member; None if it is not called.
    """

    member: str
    node: cst.BaseExpression
    whole: cst.BaseExpression
    call: cst.Call | None


def uses_of(subject: Subject, makers: Iterable[cst.CSTNode]) -> Iterator[Use]:
    """Every use of what some calls may have made.

    Args:
        subject: The program.
        makers: The calls.
    """
    program = subject.program
    calls = list(makers)
    for node in subject.instances.holders(calls) if calls else ():
        parent = program.parent(node)
        if isinstance(parent, cst.Call) and parent.func is node:
            yield Use("forward", node, node, parent)
        elif isinstance(parent, cst.Attribute) and parent.value is node:
            outer = program.parent(parent)
            call = outer if isinstance(outer, cst.Call) and outer.func is parent else None
            yield Use(parent.attr.value, node, parent, call)
        elif not _stays_in_sight(parent):
            yield Use("", node, node, None)


def _stays_in_sight(parent: cst.CSTNode | None) -> bool:
    """Whether an object only gets a further name that is followed."""
    if isinstance(parent, cst.Assign):
        return all(
            isinstance(each.target, cst.Name) or is_own_attribute(each.target) for each in parent.targets
        )
    return isinstance(parent, (cst.AssignTarget, cst.AnnAssign, cst.Expr))


def settle(
    subject: Subject,
    calls: Iterable[tuple[cst.Call, Reference]],
    obstacle: Callable[[Use], str],
    obstacle_in_call: Callable[[cst.Call], str] = lambda _call: "",
) -> tuple[list[cst.Call], list[Use]]:
    """Decide whether the objects of a class change, with all their uses; one that can't keeps all back.

    The name of a class means one thing in a file: what it was, or what it is.

    Args:
        subject: The program.
        calls: What makes the objects.
        obstacle: Why a use can't change; empty if it can.
        obstacle_in_call: Why what makes an object can't change.

    Returns:
        The calls that change, and the uses of what they make; nothing if none of them does.
    """
    makers = dict(calls)
    uses = list(uses_of(subject, makers))
    reasons = {maker: obstacle_in_call(maker) for maker in makers}
    for use in uses:
        origins = subject.instances.of(use.node)
        reason = KEPT if subject.program.is_kept(use.node) else obstacle(use)
        if not reason and not origins <= makers.keys():
            reason = f"whether {subject.program.code(use.node)} is one can't be seen everywhere"
        line = f" (line {subject.program.line(use.node)})" if reason else ""
        for maker in makers.keys() & origins:
            reasons[maker] = reasons[maker] or (reason and f"{reason}{line}")
    first = next((maker for maker, reason in reasons.items() if reason), None)
    if first is None:
        return list(makers), uses
    for maker, reason in reasons.items():
        alike = f"as the one in line {subject.program.line(first)} stays"
        subject.leave(makers[maker], reason or alike)
    return [], []


def positional(call: cst.Call) -> list[cst.Arg]:
    """The arguments without a name."""
    return [each for each in call.args if not each.keyword and not each.star]


def argument(call: cst.Call, name: str, position: int) -> cst.Arg | None:
    """The argument of that name or at that position; None if it is not given."""
    for each in call.args:
        if each.keyword and each.keyword.value == name:
            return each
    plain = positional(call)
    return plain[position] if position < len(plain) else None


def result_name(program: Program, call: cst.Call) -> cst.Name | None:
    """The name that the result of a call is given, if that is all that becomes of it."""
    assign = program.parent(call)
    if isinstance(assign, cst.Assign) and len(assign.targets) == 1:
        target = assign.targets[0].target
        return target if isinstance(target, cst.Name) else None
    return None


def lookups(program: Program, name: cst.Name) -> list[cst.CSTNode]:
    """Where the value of a name is used."""
    scope = program.scope(name)
    return [
        access.node
        for assignment in ([] if scope is None else scope[name.value])
        for access in assignment.references
    ]
