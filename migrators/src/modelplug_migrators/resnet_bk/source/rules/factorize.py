"""`SemiseparableMatrix.factorize()` gives three things, T, U and V.

`tridiag, lowrank = matrix.factorize(H)` becomes `tridiag, *lowrank = ...` where `lowrank` is taken
for a pair; otherwise it is made of U and V. Three names are left alone. What
`create_optimized_semiseparable()` makes without any optimization is such a matrix, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source import results
from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit
from modelplug_migrators.resnet_bk.source.import_text import newline_of
from modelplug_migrators.resnet_bk.source.rules import memory_options
from modelplug_migrators.resnet_bk.source.uses import MODULE, Use, lookups, result_name, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"SemiseparableMatrix", "create_optimized_semiseparable"})

_MAKING = Parameters(
    ("n_seq", "rank", "device", "dtype", "use_bitnet"), kept=("n_seq", "rank", "device", "dtype")
)
_MEMBERS = MODULE | {
    "", "U", "V", "bands", "factorize", "forward", "matvec", "n_seq", "rank", "resolvent_diagonal",
}  # fmt: skip


def apply(subject: Subject) -> None:
    """Change every matrix, with all its uses or not at all."""
    program = subject.program
    calls = subject.calls_of("SemiseparableMatrix")
    plain = dict(memory_options.plain_matrices(subject))
    matrices, uses = settle(
        subject,
        [*calls, *plain.items()],
        lambda use: _obstacle(program, use),
        lambda call: "" if call in plain else misfit(call, _MAKING),
    )
    for call in matrices:
        if call in plain:
            memory_options.write_matrix(subject, call, plain[call])
        else:
            fit(program, call, _MAKING)
    for use in uses:
        if use.member == "factorize" and use.call is not None:
            _change(program, use.call)


def _obstacle(program: Program, use: Use) -> str:
    if use.member not in _MEMBERS:
        return f"SemiseparableMatrix of resnet_bk has no {use.member}"
    if use.member != "factorize" or use.call is None:
        return ""
    taken = results.targets(program, use.call)
    if taken is not None:
        return _obstacle_in_targets(program, use.call, taken)
    name = result_name(program, use.call)
    if results.is_discarded(program, use.call) or (name and set(results.taken_apart(program, name)) == {3}):
        return ""
    if name is not None and not lookups(program, name):
        return ""
    return "whether two or three things are taken of its result can't be seen"


def _obstacle_in_targets(program: Program, call: cst.Call, taken: object) -> str:
    elements = list(taken) if isinstance(taken, (list, tuple)) else []
    if len(elements) == 3:
        return ""
    if len(elements) != 2 or any(isinstance(each, cst.StarredElement) for each in elements):
        return "into what its result is taken apart can't be seen"
    second = elements[1].value
    if isinstance(second, cst.Tuple):
        return "" if len(second.elements) == 2 else "into what its result is taken apart can't be seen"
    line = program.line_of(call)
    alone = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    if not alone or not isinstance(second, cst.Name):
        return "there is no room for what lowrank becomes"
    return ""


def _change(program: Program, call: cst.Call) -> None:
    taken = results.targets(program, call)
    if taken is None:
        return
    first = taken[0].value
    if isinstance(first, cst.Name) and first.value != "_" and lookups(program, first):
        program.warn(f"{first.value} holds the three diagonals of T now, (3, N), and not T itself", call)
    if len(taken) == 3:
        return
    second = taken[1].value
    if isinstance(second, cst.Tuple):
        start, end = program.outer_span(second)
        program.edits.replace(start, end, ", ".join(program.code(each) for each in second.elements))
        return
    name = cst.ensure_type(second, cst.Name)
    if _is_pair(program, name):
        program.edits.insert(program.span(name)[0], "*")
        return
    program.edits.replace(*program.span(name), f"{name.value}_U, {name.value}_V")
    line = program.line_of(call)
    start, end = program.span(line)
    text = program.text
    first_of_line = text.rfind("\n", 0, start) + 1
    found = text.find("\n", end)
    stop = len(text) if found < 0 else found - (text[found - 1] == "\r")
    product = f"{name.value} = {name.value}_U @ {name.value}_V.mT"
    program.edits.insert(stop, f"{newline_of(text)}{text[first_of_line:start]}{product}")


def _is_pair(program: Program, name: cst.Name) -> bool:
    """Whether a name's value is taken for the two factors, and not for their product."""
    used = lookups(program, name)
    pairs = results.taken_apart(program, name)
    indexed = [use for use in used if results.constant_index(program.parent(use)) in (0, 1)]
    return len(pairs) + len(indexed) == len(used) and set(pairs) <= {2}
