"""`create_mixed_precision_quantizer(model, ...)` becomes a `MixedPrecisionQuantization` with the bits it had.

A quantizer without a policy gave experts 4 bits, cores 8 and the output 16, and changed its model with
`quantize_model()`: there the quantization stands now, and changes the model too. Weights are not calibrated
by what layers gave, so the lines for that go. A policy by the importance of layers has no counterpart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import named
from modelplug_migrators.resnet_bk.source.lines import is_alone, take_out
from modelplug_migrators.resnet_bk.source.shapes import is_constant
from modelplug_migrators.resnet_bk.source.uses import Use, settle, uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"create_mixed_precision_quantizer", "MixedPrecisionQuantizer"})

_BITS = "{'experts': 4, 'bk_core': 8, 'output': 16}"
_ORDERS = {
    "create_mixed_precision_quantizer": (
        "model", "dataloader", "use_dynamic_policy", "num_importance_batches", "group_size",
    ),
    "MixedPrecisionQuantizer": ("model", "policy", "group_size"),
}  # fmt: skip
_GONE = frozenset({"calibrate_layer", "create_quantizers", "end_calibration", "start_calibration"})
_NEW = "MixedPrecisionQuantization"
_WRITE = f"write {_NEW}(model, {_BITS}), which is a model"


def apply(subject: Subject) -> None:
    """Change every quantizer, with all its uses or not at all."""
    program = subject.program
    calls = subject.calls_of(*_ORDERS)
    references = dict(calls)
    makers, uses = settle(
        subject,
        calls,
        lambda use: _obstacle(subject, use, references),
        lambda call: _misfit(subject, call, references[call]),
    )
    for use in uses:
        if use.call is not None and use.member in _GONE:
            take_out(program, use.call)
        elif use.call is not None and use.member == "quantize_model":
            _quantize(subject, use, references)
    for call in makers:
        take_out(program, call)
        subject.imports.drop(references[call])
        program.note("weights are quantized as they are: nothing is calibrated", call)


# Looking --------------------------------------------------------------------------------------------------


def _misfit(subject: Subject, call: cst.Call, reference: Reference) -> str:
    given = named(call, _ORDERS[reference.old.name])
    if given is None or "model" not in given:
        return "what its arguments are can't be seen"
    if _has_policy(reference.old.name, given):
        return f"a policy by the importance of layers has no counterpart: {_WRITE}"
    if not isinstance(given["model"].value, (cst.Name, cst.Attribute)):
        return f"its model has no name: {_WRITE}"
    program = subject.program
    assign = program.parent(call)
    if not isinstance(assign, cst.Assign) or len(assign.targets) > 1 or not is_alone(program, call):
        return f"it has no name: {_WRITE}"
    done = [use for use in uses_of(subject, [call]) if use.member == "quantize_model"]
    if len(done) != 1:
        return f"it quantizes the model {len(done)} times, and not once: {_WRITE}"
    return ""


def _has_policy(name: str, given: dict[str, cst.Arg]) -> bool:
    """Whether layers get bits by their importance, which the function did unless told otherwise."""
    if name == "MixedPrecisionQuantizer":
        return "policy" in given and not is_constant(given["policy"].value, "None")
    wanted = given.get("use_dynamic_policy")
    return wanted is None or not is_constant(wanted.value, "False")


def _obstacle(subject: Subject, use: Use, references: dict[cst.Call, Reference]) -> str:
    program = subject.program
    if use.member not in _GONE | {"quantize_model"} or use.call is None:
        what = f"nothing stands for {use.member}" if use.member else "it goes where its uses can't be seen"
        return f"{what}: {_WRITE}, with a report()"
    if not isinstance(program.parent(use.call), cst.Expr) or not is_alone(program, use.call):
        return f"what becomes of {use.member}() can't be seen: {_WRITE}"
    if use.member in _GONE:
        return ""
    makers = _calls(subject.instances.of(use.node))
    if any(program.scope(maker) is not program.scope(use.node) for maker in makers if maker in references):
        return f"it is made and used in different functions: {_WRITE}"
    return "" if len(makers) == 1 else f"which quantizer this is can't be seen: {_WRITE}"


def _calls(nodes: Iterable[cst.CSTNode]) -> list[cst.Call]:
    return [node for node in nodes if isinstance(node, cst.Call)]


# Changing -------------------------------------------------------------------------------------------------


def _quantize(subject: Subject, use: Use, references: dict[cst.Call, Reference]) -> None:
    """Put the quantization where the model was changed."""
    program = subject.program
    (maker,) = _calls(subject.instances.of(use.node))
    reference = references[maker]
    given = named(maker, _ORDERS[reference.old.name]) or {}
    rest = f"({program.code(given['model'].value)}, {_BITS}{_group(program, given)}, copy=False)"
    span = program.span(cst.ensure_type(use.call, cst.Call))
    subject.imports.write_over(reference, span, _NEW, before=f"{program.code(use.node)} = ", after=rest)


def _group(program: Program, given: dict[str, cst.Arg]) -> str:
    return f", group_size={program.code(given['group_size'].value)}" if "group_size" in given else ""
