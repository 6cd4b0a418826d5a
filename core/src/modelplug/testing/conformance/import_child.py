"""Imports a plugin in an interpreter of its own and tells what came of it. Runs as a child process."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from typing import Any

__all__ = ["main"]

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system")
CONNECTS = ("socket.connect", "socket.getaddrinfo")


def main(task_text: str) -> None:
    """Import, detect, and print what was imported and started at each step."""
    from modelplug.runtime import Runtime
    from modelplug.testing.conformance.watching import answer

    task = json.loads(task_text)
    # Finding out about the machine may start programs; that is not the plugin's doing.
    system = Runtime().system
    events: list[str] = []

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS or event in CONNECTS:
            events.append(f"{event}{arguments!r}"[:200])

    before = set(sys.modules)
    sys.addaudithook(record)
    module = importlib.import_module(task["module"])
    imported, import_events = sorted(set(sys.modules) - before), list(events)
    target: Any = module
    for name in filter(None, task["attribute"].split(".")):
        target = getattr(target, name)
    hook = getattr(target, "modelplug_detect_backends", None)
    if hook is not None:
        given = {"system": system}
        hook(**{name: given[name] for name in inspect.signature(hook).parameters if name in given})
    answer(
        {
            "imported": imported,
            "import_events": import_events,
            "detected": sorted(set(sys.modules) - before),
            "detect_events": events[len(import_events) :],
            "version": getattr(target, "MODELPLUG_HOOKSPEC_VERSION", None),
            "detects": hook is not None,
        }
    )
