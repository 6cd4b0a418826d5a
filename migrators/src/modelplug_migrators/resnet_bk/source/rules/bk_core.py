"""`BKCoreFunction.apply()` gives two things, the features and G.

`features = BKCoreFunction.apply(...)` becomes `features, _ = ...`; where the result is used at once, it is
`BKCoreFunction.apply(...)[0]`. The function itself is not in `resnet_bk`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source import results
from modelplug_migrators.resnet_bk.source.uses import result_name

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"BKCoreFunction"})


def apply(subject: Subject) -> None:
    """Change every call of it."""
    calls = []
    for reference in subject.references.of("BKCoreFunction"):
        function = subject.program.parent(reference.node)
        call = subject.program.parent(function) if function else None
        if (
            isinstance(function, cst.Attribute)
            and function.attr.value == "apply"
            and isinstance(call, cst.Call)
            and call.func is function
        ):
            calls.append(call)
    # A program that takes two things somewhere is written for two, whatever it does elsewhere.
    modern = any(_takes_two(subject, call) for call in calls)
    for call in calls:
        _look(subject, call, modern=modern)


def _takes_two(subject: Subject, call: cst.Call) -> bool:
    taken = results.targets(subject.program, call)
    name = result_name(subject.program, call)
    if name is not None and 2 in results.taken_apart(subject.program, name):
        return True
    return taken is not None and len(taken) == 2


def _look(subject: Subject, call: cst.Call, *, modern: bool) -> None:
    program = subject.program
    parent = program.parent(call)
    name = result_name(program, call)
    if (
        results.is_discarded(program, call)
        or _takes_two(subject, call)
        or results.constant_index(parent) in (0, 1)
    ):
        return
    if program.is_kept(call):
        program.todo("BKCoreFunction.apply gives two things now, the features and G", call)
    elif modern or results.targets(program, call) is not None or _is_chained(parent):
        program.todo("what is taken of BKCoreFunction.apply can't be seen: it gives the features and G", call)
    elif name is not None:
        if results.treated_as_several(program, name):
            program.todo("whether this is the features alone can't be seen: apply gives two things now", call)
        else:
            program.edits.insert(program.span(name)[1], ", _")
    else:
        program.edits.append(program.span(call)[1], "[0]")


def _is_chained(parent: cst.CSTNode | None) -> bool:
    return isinstance(parent, cst.Assign) and len(parent.targets) > 1
