"""Loads a model into its own process, generates, closes, and tells what remains. Runs as a child process."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

__all__ = ["main"]


def main(task_text: str) -> None:
    """Do it and print the answer."""
    import psutil

    from modelplug.backends.api import load
    from modelplug.backends.model import GenerateParams
    from modelplug.testing.conformance.watching import answer, wait_until

    task = json.loads(task_text)
    os.environ["TMPDIR"] = task["temporary"]
    tempfile.tempdir = task["temporary"]
    with load(task["path"], **task["wishes"]) as model:
        text = model.complete(task["prompt"], GenerateParams(temperature=0, max_tokens=task["tokens"]))
    me = psutil.Process()
    wait_until(lambda: not me.children(recursive=True), 5.0)
    answer(
        {
            "text": text,
            "left": sorted(entry.name for entry in Path(task["temporary"]).iterdir()),
            "children": [" ".join(child.cmdline())[:120] for child in me.children(recursive=True)],
        }
    )
    # Native libraries may tear themselves down badly at exit, which is why the worker skips that too.
    os._exit(0)
