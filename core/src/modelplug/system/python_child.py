"""Runs one of the probes that load a vendor's library, in a Python of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.system.child import first_line, run_child

if TYPE_CHECKING:
    from modelplug.system.host import Host

__all__ = ["run_python_probe"]


def run_python_probe(host: Host, name: str, *, deadline: float) -> dict[str, Any] | str:
    """What the probe `name` of `probe_child` printed, or why there is nothing: a vendor's library may crash.

    Args:
        host: Its interpreter and environment are used.
        name: `nvidia` or `amd`.
        deadline: Seconds.
    """
    assert host.python is not None
    script = Path(__file__).with_name("probe_child.py")
    result = run_child([host.python, str(script), name], deadline=deadline, environ=host.environ)
    if not result.ok:
        return result.failure
    try:
        # The answer is the last line: some libraries greet on standard output.
        answer = json.loads(result.stdout.strip().rpartition("\n")[2])
    except ValueError:
        return f"an unreadable answer: {first_line(result.stdout)!r}"
    if not isinstance(answer, dict) or not isinstance(answer.get("devices"), list):
        return (
            str(answer.get("error") or "no devices in the answer")
            if isinstance(answer, dict)
            else "no answer"
        )
    return answer
