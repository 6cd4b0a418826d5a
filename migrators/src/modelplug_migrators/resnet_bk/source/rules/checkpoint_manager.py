"""`CheckpointManager(directory, keep=...)`, with `save_checkpoint` in the place of `save`, all by name.

`load` takes what it fills by name; `load_best`, `get_latest_checkpoint` and `get_best_checkpoint` become
`load`, `latest` and `best`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit, named
from modelplug_migrators.resnet_bk.source.results import is_discarded
from modelplug_migrators.resnet_bk.source.shapes import constant_key, is_constant
from modelplug_migrators.resnet_bk.source.uses import Use, lookups, result_name, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"CheckpointManager"})

_MAKING = Parameters(
    ("checkpoint_dir", "keep_last_n", "save_optimizer", "save_scheduler"),
    kept=("directory",),
    keywords=("keep", "higher_is_better"),
    renamed={"checkpoint_dir": "directory", "keep_last_n": "keep"},
    dropped={"save_optimizer", "save_scheduler"},
)
_SAVING = Parameters(
    ("model", "optimizer", "scheduler", "epoch", "step", "metrics", "config", "is_best"),
    kept=(),
    keywords=("model", "optimizer", "scheduler", "epoch", "step", "metadata", "config"),
    renamed={"metrics": "metadata"},
)
_LOADING = Parameters(
    ("checkpoint_path", "model", "optimizer", "scheduler", "device"),
    kept=("path",),
    keywords=("model", "optimizer", "scheduler"),
    renamed={"checkpoint_path": "path"},
    dropped={"device"},
)
_LOADING_BEST = Parameters(
    ("model", "optimizer", "scheduler", "device"),
    kept=(),
    keywords=("model", "optimizer", "scheduler"),
    dropped={"device"},
)
_RENAMED = {
    "checkpoint_dir": "directory",
    "get_best_checkpoint": "best",
    "get_latest_checkpoint": "latest",
    "keep_last_n": "keep",
    "load_best": "load",
    "save": "save_checkpoint",
}
_TODAY = frozenset({"save_checkpoint", "load", "checkpoints", "latest", "best", "directory", "keep"})
_RESULTS = {"epoch": ".epoch", "step": ".step", "config": ".config()"}
_METHODS = {"save": _SAVING, "load": _LOADING, "load_best": _LOADING_BEST}


def apply(subject: Subject) -> None:
    """Change every manager, with all its uses or not at all."""
    program = subject.program
    managers, uses = settle(
        subject, subject.calls_of("CheckpointManager"), lambda use: _obstacle(program, use), _misfit
    )
    for call in managers:
        fit(program, call, _MAKING)
        given = named(call, _MAKING.old) or {}
        if not {"checkpoint_dir", "directory"} & given.keys():
            opening, _ = program.parentheses(call)
            program.edits.insert(opening + 1, '"./checkpoints"' + (", " if call.args else ""))
    done: set[cst.CSTNode] = set()
    for use in uses:
        _change(program, use, done)


def _misfit(call: cst.Call) -> str:
    given = named(call, _MAKING.old) or {}
    for name in _MAKING.dropped:
        if name in given and is_constant(given[name].value, "False"):
            return f"with {name}=False it left something out; now it saves what it is given"
    return misfit(call, _MAKING)


def _obstacle(program: Program, use: Use) -> str:
    if use.member == "":
        return "it goes where its uses can't be seen"
    if use.member not in _RENAMED and use.member not in _TODAY:
        return f"CheckpointManager of resnet_bk has no {use.member}"
    if use.member not in _METHODS or use.call is None:
        return ""
    reason = misfit(use.call, _METHODS[use.member])
    if reason:
        return reason
    if use.member == "load_best" and not isinstance(use.node, (cst.Name, cst.Attribute)):
        return "there is no name for what load_best is called on"
    return "" if use.member == "save" else _obstacle_in_result(program, use.call)


def _obstacle_in_result(program: Program, call: cst.Call) -> str:
    name = result_name(program, call)
    if is_discarded(program, call) or _key_of(program.parent(call)):
        return ""
    if name is None:
        return "what becomes of its result can't be seen"
    uses = [program.parent(use) for use in lookups(program, name)]
    if any(not _key_of(use) and not isinstance(use, cst.Attribute) for use in uses):
        return "what it loads is used as a dictionary, and is a Checkpoint now"
    return ""


def _key_of(node: cst.CSTNode | None) -> str:
    """The known key that a subscript looks up; empty for anything else."""
    key = constant_key(node)
    return key if isinstance(key, str) and key in _RESULTS else ""


def _change(program: Program, use: Use, done: set[cst.CSTNode]) -> None:
    if use.member in _RENAMED and isinstance(use.whole, cst.Attribute):
        program.edits.replace(*program.span(use.whole.attr), _RENAMED[use.member])
    call = use.call
    if call is None or use.member not in _METHODS:
        return
    fit(program, call, _METHODS[use.member])
    if use.member == "save":
        metrics = (named(call, _SAVING.old) or {}).get("metrics")
        if metrics is not None:
            start, end = program.span(metrics.value)
            program.edits.insert(start, '{"metrics": ')
            program.edits.insert(end, "}")
        return
    if use.member == "load_best":
        opening, _ = program.parentheses(call)
        best = f"{program.code(use.node)}.best()" + (", " if call.args else "")
        program.edits.insert(opening + 1, best, rank=-1)
    _look_up(program, program.parent(call), done)
    name = result_name(program, call)
    for found in lookups(program, name) if name is not None and name.value != "_" else []:
        _look_up(program, program.parent(found), done)


def _look_up(program: Program, node: cst.CSTNode | None, done: set[cst.CSTNode]) -> None:
    """Put an attribute in the place of a key."""
    key = _key_of(node)
    if key and isinstance(node, cst.Subscript) and node not in done:
        done.add(node)
        program.edits.replace(program.span(node.value)[1], program.span(node)[1], _RESULTS[key])
