"""Imports plugins in a process of its own and says which of them survive it.

Run as a script by `verdicts.py`, never imported: it must not need modelplug, so that it measures the plugin
and nothing else. Its one argument is JSON: `path` (the asking program's `sys.path`), `deadline` (seconds) and
`plugins` (pairs of name and module). It writes `begin NAME` and `end NAME` lines; a plugin without its `end`
hung or crashed, and standard error then holds the stack.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import sys


def main() -> None:
    """Import each plugin in turn, announcing it before and after."""
    task = json.loads(sys.argv[1])
    sys.path[:] = task["path"]
    faulthandler.enable(all_threads=True)
    # What a plugin prints while it is imported must not be taken for our own words.
    report = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for name, module in task["plugins"]:
        os.write(report, f"begin {name}\n".encode())
        # The timer is a thread in C, which also ends an import that keeps the interpreter's lock.
        faulthandler.dump_traceback_later(task["deadline"], exit=True)
        # An exception is harmless, because the real import catches and reports it.
        with contextlib.suppress(BaseException):
            importlib.import_module(module)
        faulthandler.cancel_dump_traceback_later()
        os.write(report, f"end {name}\n".encode())
    # Threads and exit handlers of the plugins must not keep this process.
    os._exit(0)


if __name__ == "__main__":
    main()
