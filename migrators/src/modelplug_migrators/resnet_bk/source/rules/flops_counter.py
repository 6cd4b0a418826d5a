"""FLOPs are counted in a `with` block: `with counter: model(x)`, then `counter.total_flops`.

`flops = counter.count_flops(x)` becomes that. Estimates of whole training steps, from sizes alone, have
nothing in their place, and are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import named
from modelplug_migrators.resnet_bk.source.import_text import newline_of
from modelplug_migrators.resnet_bk.source.uses import Use, result_name, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"FLOPsCounter"})

_WRITE = "write `with counter: model(input_ids)` and read counter.total_flops, what the block computed"


def apply(subject: Subject) -> None:
    """Change every counter, with all its uses or not at all."""
    _, uses = settle(subject, subject.calls_of("FLOPsCounter"), lambda use: _obstacle(subject, use), _misfit)
    for use in uses:
        if use.member == "count_flops" and use.call is not None:
            _change(subject, use)


def _misfit(call: cst.Call) -> str:
    given = named(call, ("model", "batch_size", "seq_len"))
    if given is None:
        return "what its arguments are can't be seen"
    return "" if given.keys() == {"model"} else f"it estimates from sizes: {_WRITE}"


def _obstacle(subject: Subject, use: Use) -> str:
    if use.member == "total_flops" and use.call is None:
        return ""
    if use.member == "":
        parent = subject.program.parent(use.node)
        return "" if isinstance(parent, cst.WithItem) else "it goes where its uses can't be seen"
    if use.member != "count_flops" or use.call is None:
        return f"FLOPsCounter of resnet_bk has no {use.member}: {_WRITE}"
    line = subject.program.line_of(use.call)
    statement = subject.program.parent(use.call)
    whole = (
        isinstance(statement, (cst.Expr, cst.Return)) or result_name(subject.program, use.call) is not None
    )
    plain = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    if not whole or not plain or _model_of(subject, use) is None or len(use.call.args) != 1:
        return f"there is no room for the with block here: {_WRITE}"
    return ""


def _model_of(subject: Subject, use: Use) -> str | None:
    """The model that a counter counts, as it is written where that is made; None if it has no name."""
    makers = subject.instances.of(use.node)
    models = set()
    for maker in makers:
        given = named(cst.ensure_type(maker, cst.Call), ("model",)) or {}
        model = given.get("model")
        same_scope = subject.program.scope(maker) is subject.program.scope(use.node)
        if model is None or not same_scope or not isinstance(model.value, (cst.Name, cst.Attribute)):
            return None
        models.add(subject.program.code(model.value))
    return models.pop() if len(models) == 1 else None


def _change(subject: Subject, use: Use) -> None:
    program = subject.program
    call = cst.ensure_type(use.call, cst.Call)
    start, _ = program.span(program.line_of(call))
    first = program.text.rfind("\n", 0, start) + 1
    indent, end = program.text[first:start], newline_of(program.text)
    counter = program.code(use.node)
    body = f"{_model_of(subject, use)}({program.code(call.args[0])})"
    program.edits.insert(first, f"{indent}with {counter}:{end}{indent}    {body}{end}")
    program.edits.replace(*program.span(call), f"{counter}.total_flops")
