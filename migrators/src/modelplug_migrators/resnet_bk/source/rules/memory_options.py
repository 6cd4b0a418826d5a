"""`create_optimized_semiseparable(n_seq, config)` made one matrix, as the configuration wanted it stored.

One that is stored as it is becomes a `SemiseparableMatrix(n_seq)`, which is what the function made, and its
configuration goes: nothing else in that had an effect. The rest is told, with the `MemoryOptimizer` that
saves memory in the same ways for a whole model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, named
from modelplug_migrators.resnet_bk.source.lines import is_alone, take_out
from modelplug_migrators.resnet_bk.source.shapes import is_constant
from modelplug_migrators.resnet_bk.source.uses import lookups, result_name

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply", "plain_matrices", "write_matrix"]

MARKERS = frozenset({"MemoryOptimizationConfig", "create_optimized_semiseparable"})

_FUNCTION, _CONFIG = "create_optimized_semiseparable", "MemoryOptimizationConfig"
_MAKING = Parameters(("n_seq", "config", "device"), kept=("n_seq",), keywords=("device",), dropped={"config"})
_OPTIONS = (
    "use_zero", "world_size", "rank", "use_cpu_offload", "offload_lowrank", "offload_threshold",
    "use_mixed_precision", "lowrank_dtype", "tridiag_dtype", "use_hierarchical", "num_levels",
    "log_memory_usage", "memory_check_interval",
)  # fmt: skip
_OF_MODELS = ("use_zero", "use_cpu_offload", "use_mixed_precision", "log_memory_usage")
_WHY = "it is about how one matrix is stored, and models no longer hold one"


def plain_matrices(subject: Subject) -> list[tuple[cst.Call, Reference]]:
    """The calls that make a matrix which is stored as it is.

    Args:
        subject: The program.
    """
    return [pair for pair in subject.calls_of(_FUNCTION) if _is_plain(subject, pair[0])]


def _is_plain(subject: Subject, call: cst.Call) -> bool:
    given = named(call, _MAKING.old)
    if given is None or "config" not in given:
        return False
    made_by = [_options(each) for each in _configs(subject, given["config"].value)]
    return bool(made_by) and all(
        each is not None
        and "use_mixed_precision" in each
        and is_constant(each["use_mixed_precision"].value, "False")
        and ("use_hierarchical" not in each or is_constant(each["use_hierarchical"].value, "False"))
        for each in made_by
    )


def _configs(subject: Subject, value: cst.BaseExpression) -> list[cst.CSTNode]:
    """What makes the configuration that an expression stands for; nothing if that can't be seen."""
    known = {call for call, _ in subject.calls_of(_CONFIG)}
    return list(subject.instances.of(value)) if subject.instances.surely(value, known) else []


def _options(node: cst.CSTNode) -> dict[str, cst.Arg] | None:
    return named(node, _OPTIONS) if isinstance(node, cst.Call) else None


def write_matrix(subject: Subject, call: cst.Call, reference: Reference) -> None:
    """Have a `SemiseparableMatrix` in the place of a call that `plain_matrices` gave."""
    given = named(call, _MAKING.old) or {}
    fit(subject.program, call, _MAKING, without={"config"})
    subject.imports.replace(reference, "SemiseparableMatrix")
    references = dict(subject.calls_of(_CONFIG))
    for config in _configs(subject, given["config"].value):
        if isinstance(config, cst.Call) and not subject.imports.is_settled(references[config]):
            _drop_config(subject, config, references[config])


def _drop_config(subject: Subject, config: cst.Call, reference: Reference) -> None:
    """Take out a configuration that only makes matrices which are stored as they are."""
    program = subject.program
    if isinstance(program.parent(config), cst.Arg):
        subject.imports.drop(reference)
        return
    name = result_name(program, config)
    if name is None or not is_alone(program, config):
        return
    users = [program.parent(program.parent(use) or use) for use in lookups(program, name)]
    plain = {call for call, _ in plain_matrices(subject)}
    if all(user in plain for user in users):
        subject.imports.drop(reference)
        take_out(program, config)


def apply(subject: Subject) -> None:
    """Tell of every other call what to write for a model."""
    for call, reference in subject.calls_of(_FUNCTION, _CONFIG):
        if not subject.imports.is_settled(reference) and not subject.imports.is_kept(reference):
            subject.leave(
                reference,
                f"{_WHY}: to save memory with a model, write {_optimizer(subject, call, reference)}",
            )


def _optimizer(subject: Subject, call: cst.Call, reference: Reference) -> str:
    """A `MemoryOptimizer` with those of the options that are about models."""
    if reference.old.name == _FUNCTION:
        given = (named(call, _MAKING.old) or {}).get("config")
        configs = [] if given is None else _configs(subject, given.value)
    else:
        configs = [call]
    options = _options(configs[0]) if len(configs) == 1 else None
    asked = [
        f"{name}={subject.program.code(options[name].value)}"
        for name in _OF_MODELS
        if options and name in options and not is_constant(options[name].value, "False")
    ]
    return f"MemoryOptimizer({', '.join(asked) or 'use_cpu_offload=...'}).optimize(model)"
