"""Kills transactions at every call they make, or lets every call fail, and prints what became of the tree.

Run as `python -m core.tests.migration.transactions.crash_driver WORK WHAT FOLDER SHARD SHARDS` in the
repository. It forks, and so has no threads and no pytest around it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import Scene, Snapshot, differences

from modelplug.errors import ModelplugError, RecoveryNeededError
from modelplug.migration.transactions import FileSystem

Act = Callable[[Scene, FileSystem | None], None]
ACTS: dict[str, tuple[Act, ...]] = {
    "apply": (Scene.apply,),
    "rollback": (Scene.apply, Scene.rollback),
    "abort": (Scene.abort,),
}
# One in so many.
RECOVERIES_KILLED = 3


def open_descriptors() -> int:
    """How many descriptors this process has, where that can be seen."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


class Driver:
    """Tries one act on one scene in every way.

    Args:
        scene: The scene, built anew for every try.
        work: `apply`, `rollback`, or `abort`, of which only the way back is tried.
    """

    def __init__(self, scene: Scene, work: str) -> None:
        self.scene = scene
        *self.first, self.act = ACTS[work]
        self.failures: list[str] = []
        self.counts: dict[str, int] = {}
        self.before, self.after, self.names = self.rehearse()
        self.known = 0
        if work == "abort":
            there = Driver(scene, "apply").names
            same = [ours == theirs for ours, theirs in zip(self.names, there, strict=False)]
            self.known = same.index(False)

    def rehearse(self) -> tuple[Snapshot, Snapshot, list[str]]:
        """The two states there may be, and the calls that lead from one to the other."""
        self.prepare()
        before = self.scene.snapshot()
        filesystem = tripwire.counting()
        self.act(self.scene, filesystem)
        return before, self.scene.snapshot(), filesystem.names

    def prepare(self) -> None:
        """Build the scene anew, up to the act."""
        self.scene.build(moves=True)
        for act in self.first:
            act(self.scene, tripwire.counting())

    def count(self, what: str) -> None:
        """Note that something happened once more."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def killed(self, work: Callable[[], object]) -> bool:
        """Whether a child that does the work is killed by it."""
        pid = os.fork()
        if pid == 0:
            try:
                work()
            except ModelplugError as error:
                print(f"a child failed: {error!r} {error.why}", file=sys.stderr)
                os._exit(3)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            return True
        assert os.WEXITSTATUS(status) == 0, f"exit status {os.WEXITSTATUS(status)}"
        return False

    # Kills --------------------------------------------------------------------------------------------

    def kill_points(self) -> list[tuple[int, str, tripwire.Trip]]:
        """Every call, with every moment at which it can be killed."""
        points: list[tuple[int, str, tripwire.Trip]] = []
        for number, name in enumerate(self.names, 1):
            points.append((number, f"before {name}", tripwire.kill_before))
            if name in tripwire.CHANGING:
                # After a call that only looks, all is as before the next one.
                points.append((number, f"after {name}", tripwire.kill_after))
            if name == "write":
                points.append((number, f"in the middle of {name}", tripwire.kill_in_the_middle))
        return [point for point in points if point[0] > self.known]

    def try_kill(self, number: int, trip: tripwire.Trip, label: str) -> None:
        """Kill the act at one point, perhaps its recovery as well, and look at what comes of it."""
        self.prepare()
        if not self.killed(partial(self.act, self.scene, tripwire.at(number, trip))):
            self.failures.append(f"{label}: the point was not reached")
            return
        self.count("kills")
        if number % RECOVERIES_KILLED == 0:
            self.kill_recovery(number)
        self.recover_and_compare(label)

    def kill_recovery(self, number: int) -> None:
        """Kill two recoveries in turn, at calls that differ from point to point."""
        before = tripwire.at(number * 7 % 61 + 1, tripwire.kill_before)
        after = tripwire.at(number * 11 % 97 + 1, tripwire.kill_after)
        for filesystem in (before, after):
            if self.killed(partial(self.recover, filesystem)):
                self.count("recoveries killed")

    def recover(self, filesystem: FileSystem) -> None:
        """Recover in a child, which may be killed by it."""
        self.scene.store(filesystem).recover()

    def recover_and_compare(self, label: str) -> None:
        """Recover, and see that the tree, the journal and the reports agree."""
        store = self.scene.store(tripwire.counting())
        reports = store.recover()
        state = self.compare(label)
        if state is None:
            return
        expected = {"finished": "after", "undone": "before"}
        if any(expected[report.outcome] != state for report in reports):
            self.failures.append(f"{label}: {reports} but the tree is {state}")
        history = store.history()
        newest = history[:1] if len(history) > len(self.first) else []
        committed = [record.state for record in newest] == ["committed"]
        if committed != (state == "after") or store.unfinished() or store.recover():
            self.failures.append(f"{label}: the tree is {state}, the history says {newest}")
        if not all(store.verify(record.id).intact for record in history):
            self.failures.append(f"{label}: a set is damaged")

    def compare(self, label: str) -> str | None:
        """Which of the two states the tree is in; None if in neither, which is a failure."""
        found = self.scene.snapshot()
        strays = {path.name for path in self.scene.root.glob("*") if not path.is_dir()} - {".lock", ".holder"}
        if strays:
            self.failures.append(f"{label}: {strays} left in the store")
        for state, wanted in (("before", self.before), ("after", self.after)):
            if found == wanted:
                self.count(f"ended {state}")
                return state
        self.failures.append(
            f"{label}: not the tree before ({differences(found, self.before)})"
            f" nor the one after ({differences(found, self.after)})"
        )
        return None

    # Faults -------------------------------------------------------------------------------------------

    def fault_points(self) -> list[tuple[int, str]]:
        """Every call, with everything that can go wrong with it."""
        return [
            (number, fault)
            for number, name in enumerate(self.names, 1)
            for fault in tripwire.FAULTS
            if number > self.known
            and name not in tripwire.HARMLESS
            and (fault != "short" or name == "write")
            and (fault in tripwire.LOOKING_FAULTS or name in tripwire.CHANGING)
        ]

    def try_fault(self, number: int, fault: str) -> None:
        """One call goes wrong: the act succeeds, or raises an error of ours and everything is as it was."""
        label = f"{fault} at call {number} ({self.names[number - 1]})"
        self.prepare()
        error = self.caught(label, tripwire.at(number, tripwire.FAULTS[fault]))
        self.count("faults")
        state = self.compare(label)
        if state is not None and state != ("after" if error is None else "before"):
            self.failures.append(f"{label}: the tree is {state} after {error!r}")
        if isinstance(error, RecoveryNeededError) or self.scene.store().unfinished():
            self.failures.append(f"{label}: left unfinished, {error!r}")
        if fault == "short" and error is not None:
            self.failures.append(f"{label}: {error!r} {error.why}")

    def try_second_fault(self, number: int, fault: str) -> None:
        """On the way back after one failure there is another: it is said, and recovery sets all right."""
        label = f"{fault} on the way back, at call {number} ({self.names[number - 1]})"
        self.prepare()
        error = self.caught(label, tripwire.at(number, tripwire.FAULTS[fault]))
        self.count("faults")
        if self.scene.store().unfinished() and not isinstance(error, RecoveryNeededError):
            self.failures.append(f"{label}: unfinished, and it is not said: {error!r}")
        self.recover_and_compare(label)

    def try_breakdown(self, number: int, fault: str) -> None:
        """From one call on nothing can be changed any more; when that is over, recovery sets all right."""
        label = f"{fault} from call {number} ({self.names[number - 1]}) on"
        self.prepare()
        error = self.caught(label, tripwire.from_then_on(number, tripwire.FAULTS[fault]))
        self.count("breakdowns")
        if error is None and self.scene.snapshot() != self.after:
            self.failures.append(f"{label}: no error, and not done")
        self.recover_and_compare(label)

    def caught(self, label: str, filesystem: FileSystem) -> ModelplugError | None:
        """The error of ours that the act raises; None if there is none."""
        descriptors = open_descriptors()
        try:
            self.act(self.scene, filesystem)
        except ModelplugError as error:
            if not (error.what and error.advice):
                self.failures.append(f"{label}: {error!r} gives no advice")
            return error
        except KeyboardInterrupt:
            # Too late: everything was done already.
            if self.scene.snapshot() != self.after:
                self.failures.append(f"{label}: Ctrl-C is passed on, and not everything is done")
        except BaseException as error:  # noqa: BLE001  it is what the test is about
            self.failures.append(f"{label}: {error!r} is none of ours")
        finally:
            if open_descriptors() != descriptors:
                self.failures.append(f"{label}: a descriptor stays open")
        return None


def main(work: str, what: str, folder: str, shard: int, shards: int) -> dict[str, Any]:
    """Do the share of one process, and give what is to be printed."""
    driver = Driver(Scene(Path(folder)), work)
    if what == "kills":
        for number, label, trip in driver.kill_points()[shard::shards]:
            driver.try_kill(number, trip, f"killed {label}, call {number}")
    else:
        for number, fault in driver.fault_points()[shard::shards]:
            (driver.try_second_fault if work == "abort" else driver.try_fault)(number, fault)
        for number in range(driver.known + 1 + 2 * shard, len(driver.names) + 1, 2 * shards):
            driver.try_breakdown(number, "EIO" if number % 4 == 1 else "EROFS")
    return {"calls": len(driver.names), "failures": driver.failures, **driver.counts}


if __name__ == "__main__":
    # A child copies every page that the collector touches.
    gc.disable()
    _, work_name, what_name, folder_name, shard_number, shard_count = sys.argv
    print(json.dumps(main(work_name, what_name, folder_name, int(shard_number), int(shard_count))))
