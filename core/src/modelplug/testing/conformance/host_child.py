"""A host that generates until it is killed. Runs as a child process."""

from __future__ import annotations

import json
import os
import tempfile
import time

__all__ = ["main"]


def main(task_text: str) -> None:
    """Load a model in a worker, announce the first chunk, and never end."""
    from modelplug.backends.api import load
    from modelplug.backends.model import GenerateParams
    from modelplug.testing.conformance.watching import answer

    task = json.loads(task_text)
    os.environ["TMPDIR"] = task["temporary"]
    tempfile.tempdir = task["temporary"]
    model = load(task["path"], **task["wishes"])
    stream = model.generate(task["prompt"], GenerateParams(temperature=0, max_tokens=None))
    next(stream)
    answer({"generating": True})
    while True:
        for _ in stream:
            time.sleep(0.01)
        stream = model.generate(task["prompt"], GenerateParams(temperature=0, max_tokens=None))
