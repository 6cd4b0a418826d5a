"""Atomic writes: old or new, never between, and no remains."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from modelplug.atomic import write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="permission bits and signals of POSIX")


def test_a_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    """Writing into folders that do not exist yet makes them."""
    target = tmp_path / "a" / "b" / "c.txt"
    write_atomically(target, "línes\r\nstay\n")
    assert target.read_bytes() == "línes\r\nstay\n".encode()


@posix
def test_permissions_of_the_existing_file_are_kept(tmp_path: Path) -> None:
    """A file that only its owner may read stays so; a mode that is asked for wins."""
    target = tmp_path / "secret"
    target.write_text("old")
    target.chmod(0o600)
    write_atomically(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    write_atomically(target, b"newer", mode=0o640)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@posix
def test_a_new_file_gets_the_permissions_the_umask_leaves(tmp_path: Path) -> None:
    """A new file is no more private, and no less, than any other the user makes."""
    plain = tmp_path / "plain"
    plain.write_text("")
    write_atomically(tmp_path / "new", "")
    assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode


@posix
def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    """People keep settings elsewhere and link to them; the link must not turn into a file."""
    target = tmp_path / "dotfiles" / "real"
    target.parent.mkdir()
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever system call fails, the file is as it was and the temporary file is gone."""
    target = tmp_path / "file"
    target.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    owner: object = {"fsync": os, "replace": Path, "chmod": Path}[step]
    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, "new" * 1000)
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@posix
def test_a_full_disk_leaves_the_old_file_and_no_remains(tmp_path: Path) -> None:
    """When the system itself refuses to store more bytes, nothing of the old file is lost."""
    target = tmp_path / "file"
    target.write_text("old")
    program = """
        import resource, sys
        from pathlib import Path
        from modelplug.atomic import write_atomically
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(Path(sys.argv[1]), b"x" * 100_000)
        except OSError as error:
            print(error.strerror)
    """
    done = run(program, target)
    assert done.stdout.strip() == "File too large"
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@posix
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """Readers of a file whose writer is killed again and again see complete contents only."""
    target = tmp_path / "file"
    write_atomically(target, b"0" * 50_000)
    program = """
        import sys
        from pathlib import Path
        from modelplug.atomic import write_atomically
        print("ready", flush=True)
        while True:
            for digit in b"0123456789":
                write_atomically(Path(sys.argv[1]), bytes([digit]) * 50_000)
    """
    for attempt in range(6):
        with subprocess.Popen(arguments(program, target), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.01 + 0.007 * attempt)
            process.send_signal(signal.SIGKILL)
        content = target.read_bytes()
        assert len(content) == 50_000
        assert len(set(content)) == 1


def arguments(program: str, *rest: object) -> list[str]:
    """A command line that runs a small Python program."""
    return [sys.executable, "-c", textwrap.dedent(program), *map(str, rest)]


def run(program: str, *rest: object) -> subprocess.CompletedProcess[str]:
    """Run a small Python program to its end."""
    return subprocess.run(arguments(program, *rest), capture_output=True, text=True, check=True, timeout=60)
