"""FLOPs are counted in a `with` block: `with counter: model(x)`, then `counter.total_flops`.

`flops = counter.count_flops(x)` becomes that. `FLOPsCounter(model, batch_size=32, seq_len=128)` estimated
from sizes: what it said of a forward pass is what a block with an input of these sizes counts. Estimates of
backward passes and of optimizers have nothing in their place, and are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit, named
from modelplug_migrators.resnet_bk.source.lines import insert_before, is_alone, is_evaluated_once, torch_at
from modelplug_migrators.resnet_bk.source.results import is_discarded
from modelplug_migrators.resnet_bk.source.uses import Use, lookups, result_name, settle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"FLOPsCounter"})

_WRITE = "write `with counter: model(input_ids)` and read counter.total_flops, what the block computed"
_MAKING = Parameters(("model", "batch_size", "seq_len"), kept=("model",), dropped={"batch_size", "seq_len"})
_TODAY = frozenset(
    {
        "backward_flops", "by_module", "by_operation", "forward_flops", "model", "reset", "summary",
        "total_flops",
    }
)  # fmt: skip
# Method -> what of its result a block with a forward pass counts.
_ESTIMATES = {"count_forward_flops": ("forward", "total"), "count_total_flops": ("forward",)}
_BEYOND = (
    "a forward pass is all that the block would compute: for more, call backward() in it, and see "
    "counter.forward_flops and counter.backward_flops; steps of optimizers are not counted"
)
_SIMPLE = (cst.Attribute, cst.Integer, cst.Name)


@attrs.frozen
class _Counter:
    """What a counter was made with.

    Attributes:
        model: The model, as it is written.
        sizes: Batch and length, as they are written; empty if it was made without.
    """

    model: str
    sizes: tuple[str, ...]


def apply(subject: Subject) -> None:
    """Change every counter, with all its uses or not at all."""
    calls = subject.calls_of("FLOPsCounter")
    references = dict(calls)
    counters, uses = settle(subject, calls, lambda use: _obstacle(subject, use), _misfit)
    for call in counters:
        fit(subject.program, call, _MAKING, without=_MAKING.dropped)
    counting = [use for use in uses if use.call is not None and use.member in ("count_flops", *_ESTIMATES)]
    makers = [subject.instances.of(use.node) for use in counting]
    done: set[cst.CSTNode] = set()
    for use, made_by in zip(counting, makers, strict=True):
        several = makers.count(made_by) > 1 or not _is_beside(subject, use)
        _count(subject, use, references, several=several)
        _read(subject.program, use, done)


# Looking --------------------------------------------------------------------------------------------------


def _misfit(call: cst.Call) -> str:
    reason = misfit(call, _MAKING)
    given = named(call, _MAKING.old)
    if reason or given is None:
        return reason
    if set(given) not in ({"model"}, {"model", "batch_size", "seq_len"}):
        return "what it counts can't be seen"
    sizes = [given[name].value for name in given if name != "model"]
    if not all(isinstance(size, _SIMPLE) for size in sizes):
        return f"the sizes of its input would have to be worked out again: {_WRITE}"
    return ""


def _obstacle(subject: Subject, use: Use) -> str:
    program = subject.program
    if use.member in _TODAY:
        return ""
    if use.member == "":
        parent = program.parent(use.node)
        return "" if isinstance(parent, cst.WithItem) else "it goes where its uses can't be seen"
    counter = _counter_of(subject, use)
    if use.member not in ("count_flops", *_ESTIMATES) or use.call is None:
        return f"FLOPsCounter of resnet_bk has no {use.member}: {_WRITE}"
    if not isinstance(use.node, (cst.Name, cst.Attribute)):
        return f"the counter has no name for the with block: {_WRITE}"
    if counter is None or not is_alone(program, use.call) or not is_evaluated_once(program, use.call):
        return f"there is no room for the with block here: {_WRITE}"
    if use.member == "count_flops":
        return (
            "" if len(use.call.args) == 1 and not counter.sizes else f"what it counts can't be seen: {_WRITE}"
        )
    if not counter.sizes:
        return f"what it counts can't be seen: {_WRITE}"
    return _obstacle_in_result(program, use.call, use.member)


def _counter_of(subject: Subject, use: Use) -> _Counter | None:
    """What a counter is made with, as far as that has a name where it is used too."""
    found = set()
    for maker in subject.instances.of(use.node):
        given = named(maker, _MAKING.old) if isinstance(maker, cst.Call) else None
        model = (given or {}).get("model")
        same_scope = subject.program.scope(maker) is subject.program.scope(use.node)
        if given is None or model is None or not same_scope:
            return None
        if not isinstance(model.value, (cst.Name, cst.Attribute)):
            return None
        sizes = [given[name].value for name in _MAKING.old[1:] if name in given]
        code = subject.program.code
        found.add(_Counter(code(model.value), tuple(code(size) for size in sizes)))
    return found.pop() if len(found) == 1 else None


def _obstacle_in_result(program: Program, call: cst.Call, method: str) -> str:
    """Why an estimate can't become one number: more is read of it, or not to be seen."""
    if is_discarded(program, call):
        return ""
    name = result_name(program, call)
    if name is None:
        places = [program.parent(call)]
    else:
        if len(program.assignments(name)) > 1:
            return f"{name.value} is something else elsewhere"
        places = [program.parent(use) for use in lookups(program, name)]
    for place in places:
        if not isinstance(place, cst.Attribute):
            return f"its result is not only looked up: {_BEYOND}"
        if place.attr.value not in _ESTIMATES[method]:
            return f"nothing stands for {place.attr.value} of {method}(): {_BEYOND}"
    return ""


def _is_beside(subject: Subject, use: Use) -> bool:
    """Whether a counter counts once: in the block in which it is made."""
    program = subject.program
    block = program.parent(program.line_of(use.node))
    return all(program.parent(program.line_of(maker)) is block for maker in subject.instances.of(use.node))


# Changing -------------------------------------------------------------------------------------------------


def _count(subject: Subject, use: Use, references: Mapping[cst.Call, Reference], *, several: bool) -> None:
    """Put the block before the line of a call."""
    program = subject.program
    call = cst.ensure_type(use.call, cst.Call)
    made = _counter_of(subject, use)
    assert made is not None
    counter = program.code(use.node)
    lines = [f"{counter}.reset()"] if several else []
    if made.sizes:
        maker = cst.ensure_type(next(iter(subject.instances.of(use.node))), cst.Call)
        torch = torch_at(subject, call, references[maker])
        device = f"next({made.model}.parameters()).device"
        sizes = ", ".join(made.sizes)
        lines += [
            f"with {counter}, {torch}.no_grad():",
            f"    {made.model}({torch}.zeros({sizes}, dtype={torch}.long, device={device}))",
        ]
        program.note("the FLOPs are counted in a forward pass, and not estimated from sizes", call)
    else:
        lines += [f"with {counter}:", f"    {made.model}({program.code(call.args[0])})"]
    insert_before(program, call, lines)
    program.edits.replace(*program.span(call), f"{counter}.total_flops")


def _read(program: Program, use: Use, done: set[cst.CSTNode]) -> None:
    """Have a number where parts of an estimate were looked up."""
    call = cst.ensure_type(use.call, cst.Call)
    if use.member not in _ESTIMATES or is_discarded(program, call):
        return
    name = result_name(program, call)
    for place in [call] if name is None else lookups(program, name):
        outer = program.parent(place)
        if isinstance(outer, cst.Attribute) and outer not in done:
            done.add(outer)
            program.edits.delete(program.span(place)[1], program.span(outer)[1])
