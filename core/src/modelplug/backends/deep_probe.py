"""Imports an engine in a child process and reports what only the engine itself can tell.

Importing an engine can crash (a library built for another processor), hang (a driver that does not answer) or
print; none of that may reach the program that asks. Hence a child with a deadline, whose whole process group
ends with it. Run as `python -m modelplug.backends.deep_probe module:function`, it is that child.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.probe_fields import apply_fields
from modelplug.backends.types import BackendReport, BackendState
from modelplug.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelplug.runtime import Runtime
    from modelplug.system.child import ChildResult

__all__ = ["DEADLINE", "ProbeAnswer", "probe", "probe_all"]

DEADLINE = 90.0
_MARK = "modelplug-deep-probe:"


@attrs.frozen(kw_only=True)
class ProbeAnswer:
    """What came of one deep probe.

    Attributes:
        fields: Fields of the report to update, as plain data.
        definite: Whether the answer holds until something is installed or removed; a deadline that passed
            may be the fault of a busy machine.
        problem: How the plugin broke the contract; empty if it did not.
    """

    fields: dict[str, Any]
    definite: bool = True
    problem: str = ""


# `-c` and not `-m`: the latter would put the current directory in front, where anything may lie. The child
# finds what this process finds, however its search path came about.
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from modelplug.backends.deep_probe import main; main(sys.argv[1:2])"
)


def probe(
    report: BackendReport, *, environ: Mapping[str, str] | None = None, deadline: float = DEADLINE
) -> ProbeAnswer:
    """What the engine of `report` says about itself, in a child process; never raises for what it does.

    Args:
        report: A report with a `deep_probe`.
        environ: The child's environment; this process's own if None.
        deadline: Seconds the engine may take to be imported and questioned.
    """
    from modelplug.system.child import run_child

    if getattr(sys, "frozen", False) or not sys.executable:
        return ProbeAnswer(fields={}, definite=False)
    paths = json.dumps([os.path.abspath(path) for path in sys.path])  # noqa: PTH100  entries may be archives
    result = run_child(
        [sys.executable, "-c", _START, report.deep_probe, paths], deadline=deadline, environ=environ
    )
    if result.ok:
        return _read_answer(result.stdout, report)
    definite = result.state == "exit" and not _killed_from_outside(result.exit_status)
    return ProbeAnswer(
        fields={"state": BackendState.BROKEN.value, "cause": _failure(result, report)}, definite=definite
    )


def _failure(result: ChildResult, report: BackendReport) -> str:
    if result.state == "timeout":
        return f"importing {report.engine} did not finish within {result.deadline:.0f} s"
    if result.state == "exit":
        from modelplug.backends.exits import explain_exit

        meaning = explain_exit(result.exit_status)
        if meaning.cause == "illegal-instruction":
            why = "this CPU lacks an instruction that its prebuilt library needs (SIGILL)"
            return f"importing {report.engine} ended its process: {why}"
        said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        last = f"; its last words: {said[-1][:300]}" if said else ""
        return f"importing {report.engine} ended its process: it {meaning.what}{last}"
    return result.failure


def _killed_from_outside(status: int | None) -> bool:
    """Whether something else ended the probe: it may well live the next time."""
    return status in (-9, -15)


def _read_answer(stdout: str, report: BackendReport) -> ProbeAnswer:
    lines = [line for line in stdout.splitlines() if line.startswith(_MARK)]
    try:
        answer = json.loads(lines[-1][len(_MARK) :]) if lines else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        problem = f"its deep probe {report.deep_probe} gave no answer"
        return ProbeAnswer(fields={}, definite=False, problem=problem)
    if "error" in answer:
        cause = f"importing {report.engine} failed: {answer['error']}"
        return ProbeAnswer(fields={"state": BackendState.BROKEN.value, "cause": cause})
    fields = answer.get("fields")
    try:
        apply_fields(report, fields)
    except ValueError as error:
        return ProbeAnswer(fields={}, problem=f"its deep probe {report.deep_probe} {error}")
    assert isinstance(fields, dict)
    return ProbeAnswer(fields=fields)


def probe_all(
    reports: Mapping[str, BackendReport], runtime: Runtime, *, deadline: float = DEADLINE
) -> dict[str, BackendReport]:
    """Every report after its engine was imported in a child process, all at the same time.

    Answers are remembered, and a plugin that breaks the contract is reported.

    Args:
        reports: Name -> report of the cheap detection. Those without a `deep_probe` or without an
            engine stay as they are.
        runtime: Where answers are remembered and problems reported.
        deadline: Seconds each engine may take.
    """
    from concurrent.futures import ThreadPoolExecutor

    from modelplug.backends.probe_cache import remember

    results = dict(reports)
    asked = [
        report
        for report in reports.values()
        if report.deep_probe and report.state is not BackendState.NOT_INSTALLED
    ]
    # Each probe waits for a child; two at a time keeps a small machine usable and the deadlines honest.
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = list(pool.map(lambda report: probe(report, deadline=deadline), asked))
    for report, answer in zip(asked, answers, strict=True):
        if answer.problem:
            runtime.plugins.report_problem(
                report.plugin,
                answer.problem,
                f"upgrade {report.distribution or report.plugin}, or tell its author",
            )
        if answer.definite and not answer.problem:
            remember(report, answer.fields, runtime)
        results[report.name] = apply_fields(report, answer.fields)
    return results


def _plain(value: object) -> object:
    """Plain data of what a probe may return, for JSON."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, BackendState):
        return value.value
    msg = f"a deep probe may not return {type(value).__name__}"
    raise TypeError(msg)


def _ask(target: str) -> dict[str, object]:
    import importlib
    from collections.abc import Mapping as AnyMapping

    module, _, function = target.partition(":")
    try:
        answer = getattr(importlib.import_module(module), function)()
    except BackendError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  whatever an engine raises while loading is the answer
        return {"error": f"{type(error).__name__}: {error}"}
    return {"fields": dict(answer) if isinstance(answer, AnyMapping) else answer}


def main(arguments: Sequence[str]) -> int:
    """Ask one engine and print its answer as the last line; returns the exit status."""
    # Engines print while loading, and native code does so past sys.stdout: keep the real output to ourselves.
    output = os.dup(1)
    os.dup2(2, 1)
    answer = _ask(arguments[0])
    try:
        text = json.dumps(answer, default=_plain)
    except TypeError as error:
        text = json.dumps({"fields": str(error)})
    with os.fdopen(output, "w", encoding="utf-8") as stream:
        stream.write(f"\n{_MARK}{text}\n")
        stream.flush()
        # An engine's own exit handlers may hang or crash; the answer is complete, so leave at once.
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
