"""Real processes, killed at random moments: no forks, no injected calls, only the power switch."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from core.tests.migration.transactions.scene import snapshot

from modelplug.migration.transactions import TransactionStore

KILLS = 15
FILES = 60

# Goes to and fro between two states for ever, so that a kill at any moment hits something.
PROGRAM = """
import hashlib, sys
from pathlib import Path
from modelplug.migration.transactions import FileChange, TransactionStore

tree, root = map(Path, sys.argv[1:])
store = TransactionStore(root)
store.recover()

def content(number, generation):
    return b"%d of generation %d\\n" % (number, generation) * 50

def file(number):
    return tree / ("folder%d" % (number % 4)) / ("%d.json" % number)

print("ready", flush=True)
while True:
    changes = []
    old = int(file(0).read_bytes().split()[3])
    for number in range(NUMBER):
        before = hashlib.sha256(content(number, old)).hexdigest()
        changes.append(FileChange(file(number), before, content(number, old + 1)))
    made = FileChange(tree / "made" / str(old), None, b"made")
    record = store.apply([*changes, made], meta={"generation": old + 1})
    if old % 2:
        store.rollback(record.id)
"""


def content(number: int, generation: int) -> bytes:
    """What a file holds in a generation."""
    return b"%d of generation %d\n" % (number, generation) * 50


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_process_killed_at_a_random_moment_leaves_whole_generations(tmp_path: Path) -> None:
    """Again and again on one tree: after recovery all files are of one generation, and no scrap is left."""
    tree, root = tmp_path / "tree", tmp_path / "migrations"
    for number in range(FILES):
        path = tree / f"folder{number % 4}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number, 0))
    store = TransactionStore(root)
    unfinished = 0
    moments = random.Random(20260101)
    for _ in range(KILLS):
        arguments = [sys.executable, "-c", PROGRAM.replace("NUMBER", str(FILES)), str(tree), str(root)]
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            time.sleep(moments.uniform(0, 0.3))
            assert process.poll() is None, process.stderr.read()
            process.kill()
        unfinished += len(store.unfinished())
        store.recover()

        generation = int((tree / "folder0" / "0.json").read_bytes().split()[3])
        for number in range(FILES):
            path = tree / f"folder{number % 4}" / f"{number}.json"
            assert path.read_bytes() == content(number, generation)
        names = [name for name, entry in snapshot(tree).items() if entry[0] == "file"]
        made = [name for name in names if name.startswith("made")]
        assert len(names) == FILES + len(made)
        assert all(int(Path(name).name) < generation for name in made)
        assert store.unfinished() == []
        assert all(record.state in ("committed", "aborted", "rolled-back") for record in store.history())
    # Otherwise the kills missed what they were meant to hit.
    assert unfinished > 0
