"""`StreamingEvaluator` evaluates with `evaluate(dataset, max_length=...)`, and not `evaluate_streaming`.

Its result is the perplexity, a number that also has the loss and what else was in the dictionary before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit
from modelplug_migrators.resnet_bk.source.results import is_discarded
from modelplug_migrators.resnet_bk.source.shapes import calls, constant_key, is_constant
from modelplug_migrators.resnet_bk.source.uses import Use, argument, lookups, result_name, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"StreamingEvaluator"})

_MAKING = Parameters(
    ("model", "chunk_size", "overlap", "device", "verbose"),
    kept=("model", "chunk_size"),
    dropped={"overlap", "device", "verbose"},
)
_EVALUATING = Parameters(
    ("data", "max_tokens", "log_interval"),
    kept=("dataset", "max_length"),
    renamed={"data": "dataset", "max_tokens": "max_length"},
    dropped={"log_interval"},
)
_RESULTS = {
    "perplexity": "",
    "loss": ".loss",
    "total_tokens": ".tokens",
    "num_chunks": ".chunks",
    "total_time": ".seconds",
    "tokens_per_second": ".tokens_per_second",
}


def apply(subject: Subject) -> None:
    """Change every evaluator, with all its uses or not at all."""
    program = subject.program
    evaluators, uses = settle(
        subject,
        subject.calls_of("StreamingEvaluator"),
        lambda use: _obstacle(program, use),
        lambda call: misfit(call, _MAKING),
    )
    for call in evaluators:
        size = argument(call, "chunk_size", 1)
        unset = {"chunk_size"} if size is not None and is_constant(size.value, "None") else set()
        fit(program, call, _MAKING, without=unset)
    names: set[str] = set()
    for use in uses:
        if use.member == "evaluate_streaming" and use.call is not None:
            _change(program, use.call, cst.ensure_type(use.whole, cst.Attribute), names)


def _obstacle(program: Program, use: Use) -> str:
    if use.member in ("evaluate", "model", "chunk_size"):
        return ""
    if use.member == "":
        return "it goes where its uses can't be seen"
    if use.member != "evaluate_streaming" or use.call is None:
        return f"StreamingEvaluator of resnet_bk has no {use.member}"
    return misfit(use.call, _EVALUATING) or _obstacle_in_result(program, use.call)


def _obstacle_in_result(program: Program, call: cst.Call) -> str:
    if is_discarded(program, call) or _key_of(program.parent(call)) is not None:
        return ""
    name = result_name(program, call)
    if name is None:
        return "what becomes of its result can't be seen"
    for assignment in program.assignments(name):
        value = program.value_of(assignment)
        if not calls(value, "evaluate_streaming"):
            return f"{name.value} is something else elsewhere"
    if any(_key_of(program.parent(use)) is None for use in lookups(program, name)):
        return "its result is used as a dictionary, and is a number with attributes now"
    return ""


def _key_of(node: cst.CSTNode | None) -> str | None:
    """The known key that a subscript looks up; None for anything else."""
    key = constant_key(node)
    return key if isinstance(key, str) and key in _RESULTS else None


def _change(program: Program, call: cst.Call, method: cst.Attribute, done: set[str]) -> None:
    program.edits.replace(*program.span(method.attr), "evaluate")
    limit = argument(call, "max_tokens", 1)
    unset = {"max_tokens"} if limit is not None and is_constant(limit.value, "None") else set()
    fit(program, call, _EVALUATING, without=unset)
    if limit is None or unset:
        data = argument(call, "data", 0)
        if data is not None and isinstance(data.value, cst.Name):
            program.edits.insert(program.span(data)[1], f", max_length=len({data.value.value})")
        else:
            program.warn("evaluate() reads 1,000,000 tokens at most, unless max_length says otherwise", call)
    direct = program.parent(call)
    if _key_of(direct) is not None:
        _look_up(program, cst.ensure_type(direct, cst.Subscript))
    name = result_name(program, call)
    if name is None or is_discarded(program, call):
        return
    for use in lookups(program, name):
        place = program.parent(use)
        key = str(program.span(use))
        if key not in done and isinstance(place, cst.Subscript):
            done.add(key)
            _look_up(program, place)


def _look_up(program: Program, node: cst.Subscript) -> None:
    """Put an attribute in the place of a key."""
    start, end = program.span(node.value)[1], program.span(node)[1]
    key = _key_of(node) or ""
    if _RESULTS[key]:
        program.edits.replace(start, end, _RESULTS[key])
    else:
        program.edits.delete(start, end)
