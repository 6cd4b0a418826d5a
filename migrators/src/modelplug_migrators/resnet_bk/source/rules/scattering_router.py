"""`ScatteringRouter` gives two tensors, the experts and their weights.

Where one result was taken, a name for the weights is put beside it; where three were, the diagnostics go, if
nothing reads them. A router is made with `top_k`, and routes without `epsilon`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source import results
from modelplug_migrators.resnet_bk.source.arguments import named
from modelplug_migrators.resnet_bk.source.edits import removals
from modelplug_migrators.resnet_bk.source.uses import MODULE, Use, argument, lookups, result_name, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"ScatteringRouter"})

_OLD = ("num_experts", "use_clark_measure", "resonance_threshold", "top_k_resonance", "top_k_normal")
_MEMBERS = MODULE | {"forward", "statistics", "num_experts", "top_k", "shares", "sharpness"}


def apply(subject: Subject) -> None:
    """Change every router, with all its uses or not at all."""
    program = subject.program
    routers, uses = settle(
        subject, subject.calls_of("ScatteringRouter"), lambda use: _obstacle(program, use), _misfit
    )
    for call in routers:
        _make(program, call)
    for use in uses:
        if use.call is not None and use.member == "forward":
            _route(program, use.call)


def _misfit(call: cst.Call) -> str:
    given = named(call, _OLD)
    if given is None:
        # Made as it is today: ScatteringRouter(8, top_k=2).
        given = named(call, ("num_experts", "top_k"))
    if given is None:
        return "what its arguments are can't be seen"
    unknown = given.keys() - {*_OLD, "top_k"}
    return f"ScatteringRouter of resnet_bk takes no {', '.join(sorted(unknown))}" if unknown else ""


def _obstacle(program: Program, use: Use) -> str:
    if use.member == "":
        return "it goes where its uses can't be seen"
    if use.member not in _MEMBERS:
        return f"ScatteringRouter of resnet_bk has no {use.member}"
    if use.member != "forward" or use.call is None:
        return ""
    call = use.call
    if any(each.star for each in call.args) or len(call.args) > 2:
        return "what it is called with can't be seen"
    taken = results.targets(program, call)
    if taken is not None:
        return _obstacle_in_targets(program, taken)
    index = results.constant_index(program.parent(call))
    if results.is_discarded(program, call) or index in (0, 1):
        return ""
    name = result_name(program, call)
    if name is None:
        return "what becomes of its result can't be seen"
    counts = results.taken_apart(program, name)
    if counts:
        return "" if set(counts) == {2} else "its result is taken apart into more than two"
    if results.treated_as_several(program, name):
        return "whether its result is one tensor or several can't be seen"
    return ""


def _obstacle_in_targets(program: Program, taken: object) -> str:
    elements = list(taken) if isinstance(taken, (list, tuple)) else []
    starred = any(isinstance(each, cst.StarredElement) for each in elements)
    if starred or len(elements) not in (2, 3):
        return "into what its result is taken apart can't be seen"
    if len(elements) == 3:
        third = elements[2].value
        if not isinstance(third, cst.Name) or lookups(program, third):
            return (
                "its diagnostics are read; router.statistics(expert_indices, routing_weights) gives "
                "load, importance, entropy and balance_loss"
            )
    return ""


def _make(program: Program, call: cst.Call) -> None:
    given = named(call, _OLD)
    if given is None or not given.keys() & set(_OLD[1:]):
        return
    gone = [index for index, each in enumerate(call.args) if any(given.get(n) is each for n in _OLD[1:])]
    spans = [program.span(each) for each in call.args]
    top_k = _top_k(program, given)
    if top_k != "2" and "top_k" not in given:
        first = given["num_experts"]
        program.edits.insert(program.span(first)[1], f", top_k={top_k}")
    program.edits.extend(removals(program.text, spans, gone))


def _top_k(program: Program, given: dict[str, cst.Arg]) -> str:
    """The larger one of the two numbers of experts there were; 2 is what there is without any."""
    values = {"top_k_resonance": "2", "top_k_normal": "1"}
    values |= {name: program.code(given[name].value) for name in values if name in given}
    if all(value.isdecimal() for value in values.values()):
        return str(max(map(int, values.values())))
    return f"max({values['top_k_resonance']}, {values['top_k_normal']})"


def _route(program: Program, call: cst.Call) -> None:
    epsilon = argument(call, "epsilon", 1)
    spans = [program.span(each) for each in call.args]
    if epsilon is not None:
        which = [index for index, each in enumerate(call.args) if each is epsilon]
        program.edits.extend(removals(program.text, spans, which))
        program.note("routing takes no epsilon: how sharp it is, is learned", call)
    for each in call.args:
        if each.keyword and each.keyword.value == "G_ii":
            program.edits.replace(*program.span(each.keyword), "diagonal")
    taken = results.targets(program, call)
    if taken is not None and len(taken) == 3:
        program.edits.delete(program.span(taken[1])[1], program.span(taken[2])[1])
    name = result_name(program, call)
    if name is not None and name.value != "_" and not results.treated_as_several(program, name):
        program.edits.insert(program.span(name)[1], ", _")
        program.note(
            f"{name.value} has a last dimension now: the top_k nearest experts of each token, nearest first",
            call,
        )
