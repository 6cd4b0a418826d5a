"""The power fails: what was not synced is lost, or not, in any mixture. The tree is whole all the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from core.tests.migration.transactions.power import Disk, Recorder, best, chances, worst
from core.tests.migration.transactions.scene import Scene, differences

posix = pytest.mark.skipif(os.name == "nt", reason="a disk with POSIX names and permissions is modelled")


@posix
@pytest.mark.parametrize("work", ["apply", "rollback", "abort"])
def test_a_power_cut_at_any_moment_leaves_the_old_tree_or_the_new_one(fast_folder: Path, work: str) -> None:
    """After every change, with the worst luck, the best, and mixtures; once it returned, only the new one.

    A transaction that fails and is undone leaves the old tree at every moment.
    """
    scene = Scene(fast_folder / "scene")
    scene.build(effects=False)
    if work == "rollback":
        scene.apply()
    before = scene.snapshot()
    start = scene.folder.with_name("start")
    shutil.copytree(scene.folder, start, symlinks=True)
    recorder = Recorder()
    getattr(scene, work)(recorder)
    after = scene.snapshot()
    ended = {"before": 0, "after": 0}
    for count in range(len(recorder.notes) + 1):
        for luck in (worst, best, chances(count), chances(-count - 1)):
            cut(scene, start, recorder, count, luck)
            reports = scene.store().recover()
            found = scene.snapshot()
            where = (recorder.notes[:count][-1:], luck, reports)
            assert found in (before, after), (where, differences(found, before), differences(found, after))
            ended["after" if found == after else "before"] += 1
            if count == len(recorder.notes):
                assert found == after, where
            history = scene.store().history()
            in_force = [record.id for record in history if record.state == "committed"]
            expected = {"apply": found == after, "rollback": True, "abort": False}[work]
            assert bool(in_force) == expected, where
            assert not [record for record in history if record.state == "damaged"], where
            assert all(scene.store().verify(name).intact for name in in_force), where
    assert work == "abort" or min(ended.values()) > 20


def cut(
    scene: Scene, start: Path, recorder: Recorder, count: int, luck: Callable[[Sequence[Any]], Any]
) -> None:
    """Put on the disk what is left if the power fails after so many changes."""
    shutil.rmtree(scene.folder)
    shutil.copytree(start, scene.folder, symlinks=True)
    disk = Disk(scene.folder)
    for note in recorder.notes[:count]:
        disk.replay(*note)
    shutil.rmtree(scene.folder)
    disk.lay_out(luck)
