"""A disk that is really full, really read-only, or really refuses: the old tree is left, and no scraps."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
import hashlib, os, resource, sys
from pathlib import Path
from core.tests.migration.transactions.scene import sha256, snapshot
from modelplug.errors import TransactionError
from modelplug.migration.transactions import FileChange, TransactionStore

folder = Path(sys.argv[1])
tree = folder / "tree"
tree.mkdir(parents=True, exist_ok=True)
(tree / "a").write_bytes(b"old a")
(tree / "b").write_bytes(b"old b" * 1000)
changes = [
    FileChange(tree / "a", sha256(b"old a"), b"new a" * 10_000),
    FileChange(tree / "b", sha256(b"old b" * 1000), b"new b" * 200_000),
    FileChange(tree / "new" / "c", None, b"new c" * 10_000),
]
before = snapshot(tree)

def refused(store):
    try:
        store.apply(changes)
    except TransactionError as error:
        assert snapshot(tree) == before, snapshot(tree)
        assert store.unfinished() == []
        print(type(error.__cause__).__name__, error.why.partition(":")[0], "|", error.advice)
    else:
        print("applied")
"""
ROOT = Path(__file__).parents[4]

linux_root = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting takes root on Linux"
)


def run(program: str, folder: Path, *prefix: str) -> list[str]:
    """Run a program in the repository, perhaps through another one; gives the lines it prints."""
    text = PRELUDE + textwrap.dedent(program)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", text, folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if prefix and done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def mounted(options: str, program: str) -> str:
    """A program that first mounts a file system of its own, which vanishes with it."""
    mount = f"""
    import subprocess, sys
    command = ["mount", "-t", "tmpfs", "-o", "{options}", "tmpfs", folder / "disk"]
    done = subprocess.run(command, stderr=subprocess.PIPE)
    if done.returncode:
        print("no mount:", done.stderr.decode())
        sys.exit()
    """
    return textwrap.dedent(mount) + textwrap.dedent(program)


@pytest.mark.skipif(os.name == "nt", reason="resource limits of POSIX")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The system refuses to write more than so many bytes into one file, for each file in turn."""
    lines = run(
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (100, 1000, 6000, 60_000, 999_999, 10_000_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            refused(TransactionStore(folder / f"migrations{limit}"))
        """,
        tmp_path,
    )
    refusal = "OSError File too large | free some space on that disk, and try again"
    # With room for no more than a hundred bytes not even the journal can say that it was undone.
    assert lines[1:] == [refusal] * 4 + ["applied"]


@linux_root
@pytest.mark.parametrize("where", ["tree", "store"])
def test_a_full_disk(tmp_path: Path, where: str) -> None:
    """With ever more room on the disk of the files, or the backups, it fails later, and at last succeeds."""
    (tmp_path / "disk").mkdir()
    program = """
    tree = folder / "disk" / "tree" if WHERE == "tree" else folder / "away"
    tree.mkdir()
    (tree / "a").write_bytes(b"old a")
    (tree / "b").write_bytes(b"old b" * 1000)
    changes = [
        FileChange(tree / "a", sha256(b"old a"), b"new a" * 10_000),
        FileChange(tree / "b", sha256(b"old b" * 1000), b"new b" * 200_000),
        FileChange(tree / "new" / "c", None, b"new c" * 10_000),
    ]
    before = snapshot(tree)
    disk = folder / "disk"
    ballast = disk / "ballast"
    size = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    root = disk / "migrations" if WHERE == "store" else folder / "migrations"
    TransactionStore(root).apply([FileChange(folder / "warm", None, b"up")])
    for free in FREE:
        with ballast.open("wb") as stream:
            stream.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - free))
        refused(TransactionStore(root))
        ballast.unlink()
    """
    free = [4096 * pages for pages in ((2, 14, 100, 255, 300) if where == "tree" else (0, 1, 3, 5, 60))]
    text = mounted("size=8m", program).replace("WHERE", repr(where)).replace("FREE", repr(free))
    lines = run(text, tmp_path, "unshare", "--mount")
    if lines[:1] and lines[0].startswith("no mount"):
        pytest.skip(lines[0])
    refusal = "OSError No space left on device | free some space on that disk, and try again"
    assert lines[0] == refusal
    assert lines[-1] == "applied"
    assert set(lines) == {refusal, "applied"}
    assert len(lines) == 5


@linux_root
def test_a_read_only_disk(tmp_path: Path) -> None:
    """Files on it can't be changed, and say so; those on other disks that should change with them do not."""
    (tmp_path / "disk").mkdir()
    program = """
    fixed = folder / "disk" / "fixed"
    fixed.write_bytes(b"fixed")
    subprocess.run(["mount", "-o", "remount,ro", folder / "disk"], check=True)
    changes.append(FileChange(fixed, sha256(b"fixed"), b"changed"))
    refused(TransactionStore(folder / "migrations"))
    """
    lines = run(mounted("size=1m", program), tmp_path, "unshare", "--mount")
    if lines[:1] and lines[0].startswith("no mount"):
        pytest.skip(lines[0])
    assert lines == ["OSError Read-only file system | make that place writable, and try again"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    """The last file can't be made, so the first ones are not changed either."""
    (tmp_path / "closed").mkdir(0o500)
    program = """
    changes.append(FileChange(folder / "closed" / "file", None, b"x"))
    refused(TransactionStore(folder / "migrations"))
    """
    assert run(program, tmp_path) == [
        "PermissionError Permission denied | make that place writable, and try again"
    ]
