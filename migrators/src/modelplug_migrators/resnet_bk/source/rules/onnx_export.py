"""`export_to_onnx(model, path, batch_size=1, seq_length=512)` takes `input_shape=(1, 512)` in their place.

`dynamic_axes` is `dynamic`. Operators are those of version 18 at least. What the file may differ by is told
over the largest value that the model gives, so a `tolerance` of before goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import named
from modelplug_migrators.resnet_bk.source.edits import removals
from modelplug_migrators.resnet_bk.source.results import is_discarded

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"export_to_onnx"})

_OLD = (
    "model", "output_path", "batch_size", "seq_length", "opset_version", "dynamic_axes", "verify",
    "tolerance",
)  # fmt: skip
_TODAY = frozenset({"input_shape", "dynamic", "with_state"})
_LEAST_OPSET = 18


def apply(subject: Subject) -> None:
    """Change every export."""
    calls = subject.calls_of("export_to_onnx")
    reasons = {reference: _obstacle(call) for call, reference in calls}
    for call, reference in calls:
        given = named(call, _OLD) or {}
        if any(reasons.values()):
            subject.leave(reference, reasons[reference] or "as another one in this file stays")
        elif not _TODAY & given.keys():
            _change(subject.program, call, given)


def _obstacle(call: cst.Call) -> str:
    given = named(call, _OLD)
    if given is None:
        return "what its arguments are can't be seen"
    if _TODAY & given.keys():
        return ""
    if not {"model", "output_path"} <= given.keys():
        return "where its model and its path are can't be seen"
    unknown = sorted(given.keys() - set(_OLD))
    if unknown:
        return f"its counterpart in resnet_bk takes no {', '.join(unknown)}"
    if "opset_version" in given and not isinstance(given["opset_version"].value, cst.Integer):
        return f"whether opset_version is {_LEAST_OPSET} at least can't be seen"
    return ""


def _change(program: Program, call: cst.Call, given: dict[str, cst.Arg]) -> None:
    for name in ("model", "output_path"):
        if given[name].keyword is not None:
            # The guide has them without names.
            program.edits.delete(program.span(given[name])[0], program.span(given[name].value)[0])
    sizes = [
        program.code(given[name].value) if name in given else usual
        for name, usual in (("batch_size", "1"), ("seq_length", "512"))
    ]
    program.edits.insert(program.span(given["output_path"])[1], f", input_shape=({', '.join(sizes)})")
    _rename(program, given)
    gone = {given.get("batch_size"), given.get("seq_length"), given.get("tolerance"), _old_opset(given)}
    which = [index for index, each in enumerate(call.args) if each in gone]
    program.edits.extend(removals(program.text, [program.span(each) for each in call.args], which))
    if _old_opset(given) is not None:
        program.warn(f"opset_version is {_LEAST_OPSET} now: there is none before that", call)
    if "tolerance" in given:
        program.warn("tolerance is over the largest value that the model gives now: 1e-4 by default", call)
    if not is_discarded(program, call):
        program.warn("it gives the path of the file now, and an error is raised where it gave False", call)


def _rename(program: Program, given: dict[str, cst.Arg]) -> None:
    """Give what stays its name of today."""
    for name, today in (
        ("opset_version", "opset_version"),
        ("dynamic_axes", "dynamic"),
        ("verify", "verify"),
    ):
        each = given.get(name)
        if each is None or each is _old_opset(given):
            continue
        if each.keyword is None:
            program.edits.insert(program.span(each)[0], f"{today}=")
        elif today != name:
            program.edits.replace(*program.span(each.keyword), today)


def _old_opset(given: dict[str, cst.Arg]) -> cst.Arg | None:
    """A version of operators that is not to be had any more, if that is wanted."""
    each = given.get("opset_version")
    wanted = each.value if each is not None else None
    old = isinstance(wanted, cst.Integer) and wanted.evaluated_value < _LEAST_OPSET
    return each if old else None
