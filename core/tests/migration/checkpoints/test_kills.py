"""Real processes, killed at random moments while they migrate a checkpoint to and fro."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelplug import Runtime
from modelplug.migration.migrator import Migrator

KILLS = 12
MEGABYTES = 3

# Migrates a checkpoint and brings it back, for ever, so that a kill at any moment hits something.
PROGRAM = """
import sys
from pathlib import Path
from modelplug import Runtime
from modelplug.migration.migrator import Migrator

path = Path(sys.argv[1])
migrator = Migrator(Runtime())
migrator.plan([path])
print("ready", flush=True)
while True:
    migrator.apply(migrator.plan([path]))
    migrator.rollback()
"""


def is_complete(folder: Path) -> bool:
    """Whether a migrated checkpoint is all there."""
    import modelplug_crate

    tensors = modelplug_crate.CrateFormat().open(folder).tensors
    return sum(tensor.size for tensor in tensors.values()) == (MEGABYTES << 20) + 8


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_process_leaves_the_old_checkpoint_or_the_new_one(
    crate_plugin: Path, tmp_path: Path
) -> None:
    """Before recovery there is one of them, or both, and each is whole; after it the next run goes well."""
    migrator = Migrator(Runtime())
    assert migrator.graph.families
    import modelplug_crate

    path = tmp_path / "models" / "old.bin"
    path.parent.mkdir()
    modelplug_crate.write_crate(path, {"layers.0": os.urandom(MEGABYTES << 20)})
    size, made = path.stat().st_size, path.with_suffix("")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    moments = random.Random(20260102)
    unfinished = leftovers = 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], env=environ, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.4))
            assert process.poll() is None
            process.kill()
        assert path.exists() or made.exists()
        assert not path.exists() or path.stat().st_size == size
        assert not made.exists() or is_complete(made)
        unfinished += len(migrator.store.unfinished())
        leftovers += len(list(path.parent.glob(".modelplug-*")))
        migrator.recover()
        assert path.exists() != made.exists()
        if made.exists():
            migrator.rollback()
        assert path.stat().st_size == size
    migrator.apply(migrator.plan([path]), verify=True)

    assert is_complete(made)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["old"]
    # Otherwise the kills missed what they were meant to hit.
    assert unfinished + leftovers > 0
