"""`export_to_onnx(model, path, batch_size=1, seq_length=512)` takes `input_shape=(1, 512)` in their place."""

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
_USUAL = {"opset_version": "14", "dynamic_axes": "True"}
_CHECKS = ("verify", "tolerance")


def apply(subject: Subject) -> None:
    """Change every export."""
    calls = subject.calls_of("export_to_onnx")
    reasons = {reference: _obstacle(subject, call) for call, reference in calls}
    for call, reference in calls:
        given = named(call, _OLD) or {}
        if any(reasons.values()):
            subject.leave(reference, reasons[reference] or "as another one in this file stays")
        elif "input_shape" not in given:
            _change(subject.program, call, given)


def _obstacle(subject: Subject, call: cst.Call) -> str:
    given = named(call, _OLD)
    if given is None:
        return "what its arguments are can't be seen"
    if "input_shape" in given:
        return ""
    if not {"model", "output_path"} <= given.keys():
        return "where its model and its path are can't be seen"
    unusual = [
        name for name, usual in _USUAL.items() if name in given and _code(subject, given[name]) != usual
    ]
    unknown = [*unusual, *sorted(given.keys() - set(_OLD))]
    return f"its counterpart in resnet_bk takes no {', '.join(unknown)}" if unknown else ""


def _code(subject: Subject, argument: cst.Arg) -> str:
    return subject.program.code(argument.value)


def _change(program: Program, call: cst.Call, given: dict[str, cst.Arg]) -> None:
    for name in ("model", "output_path"):
        keyword = given[name].keyword
        if keyword is not None and name == "output_path":
            # The guide has it without a name.
            program.edits.delete(program.span(given[name])[0], program.span(given[name].value)[0])
    if given["model"].keyword is not None:
        program.edits.delete(program.span(given["model"])[0], program.span(given["model"].value)[0])
    sizes = [
        program.code(given[name].value) if name in given else usual
        for name, usual in (("batch_size", "1"), ("seq_length", "512"))
    ]
    gone = [index for index, each in enumerate(call.args) if any(given.get(n) is each for n in _OLD[2:])]
    program.edits.insert(program.span(given["output_path"])[1], f", input_shape=({', '.join(sizes)})")
    program.edits.extend(removals(program.text, [program.span(each) for each in call.args], gone))
    checks = [name for name in _CHECKS if name in given]
    if checks:
        program.note(f"{', '.join(checks)}: gone, nothing depends on it any more", call)
    if not is_discarded(program, call):
        program.todo("it gave True or False, which is used here: see what it gives now", call)
