"""Killed at any call, or with any call failing, a transaction leaves a tree wholly old or wholly new."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
DRIVER = "core.tests.migration.transactions.crash_driver"
SHARDS = 2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and signals of POSIX")


def drive(work: str, what: str, folder: Path) -> collections.Counter[str]:
    """Run the driver in as many processes as there are cores for it; gives the sums of what it counts."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", DRIVER, work, what, folder / str(shard), str(shard), str(SHARDS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for shard in range(SHARDS)
    ]
    counts: collections.Counter[str] = collections.Counter()
    failures = []
    for process in processes:
        output, errors = process.communicate(timeout=110)
        assert process.returncode == 0, errors
        assert errors == ""
        report = json.loads(output)
        failures += report.pop("failures")
        counts.update(report)
    assert failures == []
    return counts


@pytest.mark.parametrize("work", ["apply", "rollback"])
def test_killed_at_any_call_it_leaves_the_old_tree_or_the_new_one(fast_folder: Path, work: str) -> None:
    """Before, after and in the middle of a call; recovery may be killed too, and the journal says which."""
    counts = drive(work, "kills", fast_folder)

    assert counts["kills"] >= 300
    assert counts["recoveries killed"] >= 100
    assert counts["ended before"] >= 50
    assert counts["ended after"] >= 50
    assert counts["ended before"] + counts["ended after"] == counts["kills"]


def test_killed_at_any_call_on_the_way_back_it_leaves_the_old_tree(fast_folder: Path) -> None:
    """The last effect failed, and everything is being undone when the kill comes."""
    counts = drive("abort", "kills", fast_folder)

    assert counts["kills"] >= 150
    assert counts["ended before"] == counts["kills"]
    assert counts["ended after"] == 0


@pytest.mark.parametrize("work", ["apply", "rollback"])
def test_when_any_call_fails_it_succeeds_or_leaves_the_old_tree(fast_folder: Path, work: str) -> None:
    """A full, read-only or broken disk, short writes and Ctrl-C: success, or an error and no change."""
    counts = drive(work, "faults", fast_folder)

    assert counts["faults"] >= 300
    assert counts["breakdowns"] >= 100
    assert counts["ended before"] + counts["ended after"] == counts["faults"] + counts["breakdowns"]


def test_a_second_failure_on_the_way_back_is_said_and_recovered_from(fast_folder: Path) -> None:
    """Recovery takes up what could not be undone."""
    counts = drive("abort", "faults", fast_folder)

    assert counts["faults"] >= 200
    assert counts["ended before"] == counts["faults"] + counts["breakdowns"]
