"""One transaction at a time, whoever runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from core.tests.migration.transactions.scene import sha256

from modelplug.errors import LockedError
from modelplug.migration.transactions import Effect, FileChange, TransactionStore

HOLDER = """
import sys
from pathlib import Path
from modelplug.migration.transactions import Effect, TransactionStore

class Waiting:
    def apply(self, payload, transaction_id):
        print("holding", flush=True)
        sys.stdin.readline()
    def undo(self, payload, transaction_id):
        pass

TransactionStore(Path(sys.argv[1]), handlers={"wait": Waiting()}).apply([], effects=[Effect("wait")])
print("done", flush=True)
"""

COUNTING = """
import hashlib, sys
from pathlib import Path
from modelplug.errors import StaleFileError
from modelplug.migration.transactions import FileChange, TransactionStore

root, *files = map(Path, sys.argv[1:])
done = 0
while done < 6:
    old = files[0].read_bytes()
    new = b"%d" % (int(old) + 1)
    digest = hashlib.sha256(old).hexdigest()
    try:
        TransactionStore(root).apply([FileChange(file, digest, new) for file in files], lock_seconds=60)
    except StaleFileError:
        continue
    done += 1
"""


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    """It waits for as long as it was told; nothing is touched meanwhile, and afterwards it goes on."""
    root = tmp_path / "migrations"
    file = tmp_path / "file"
    store = TransactionStore(root)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        for act in (
            lambda: store.apply([FileChange(file, None, b"x")], lock_seconds=0.05),
            lambda: store.recover(lock_seconds=0.05),
            lambda: store.rollback(lock_seconds=0.05),
        ):
            with pytest.raises(LockedError, match=f"process {holder.pid} ") as caught:
                act()
            assert caught.value.holder == holder.pid
            assert caught.value.seconds == 0.05
        assert not file.exists()
        assert [record.state for record in store.history()] == ["unfinished"]
        release = threading.Timer(0.2, lambda: (holder.stdin.write("\n"), holder.stdin.flush()))  # type: ignore[union-attr]
        release.start()
        assert store.apply([FileChange(file, None, b"x")], lock_seconds=60) is not None
        release.join()
        holder.communicate()
    assert file.read_bytes() == b"x"
    assert [record.state for record in store.history()] == ["committed", "committed"]
    assert not (root / ".holder").exists()


def test_processes_that_apply_at_once_do_so_in_turn(tmp_path: Path) -> None:
    """Each adds one to two files, many times: no step is lost and the files never differ."""
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_bytes(b"0")
    root = tmp_path / "migrations"
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNTING, root, *files], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.communicate(timeout=100)[1] == ""
        assert process.returncode == 0
    assert [file.read_bytes() for file in files] == [b"18", b"18"]
    assert [record.state for record in TransactionStore(root).history()] == ["committed"] * 18


def test_threads_take_turns_too(tmp_path: Path) -> None:
    """One store may be used by several threads."""
    running: list[int] = []
    most: list[int] = []

    class Watching:
        def apply(self, payload: Any, transaction_id: str) -> None:
            running.append(1)
            most.append(len(running))
            time.sleep(0.02)
            running.pop()

        def undo(self, payload: Any, transaction_id: str) -> None:
            raise AssertionError

    store = TransactionStore(tmp_path / "migrations", handlers={"watch": Watching()})
    threads = [
        threading.Thread(target=lambda: store.apply([], effects=[Effect("watch")], lock_seconds=60))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
    assert [record.state for record in store.history()] == ["committed"] * 4


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """Its name may still lie there; the lock itself ended with it."""
    root = tmp_path / "migrations"
    root.mkdir()
    (root / ".lock").touch()
    (root / ".holder").write_text('{"pid": 1')
    file = tmp_path / "file"
    file.write_bytes(b"old")
    store = TransactionStore(root)
    assert store.apply([FileChange(file, sha256(b"old"), b"new")], lock_seconds=0) is not None
    assert os.listdir(root / store.history()[0].id)  # noqa: PTH208
