"""The settings file under bad luck: broken, newer, read-only, full, shared, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelplug.config import ConfigManager, store
from modelplug.config.document import Document
from modelplug.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.paths import Paths

posix = pytest.mark.skipif(os.name == "nt", reason="limits, users and signals of POSIX")


def manager(paths: Paths) -> ConfigManager:
    """A manager that sees no environment."""
    return ConfigManager(paths, environ={})


def names(folder: Path) -> set[str]:
    """What is in a folder, the lock apart."""
    return {entry.name for entry in folder.iterdir() if entry.suffix != ".lock" and entry.name != "logs"}


def test_a_broken_file_is_reported_and_the_defaults_are_used(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that only reads says what is wrong and where, and touches nothing."""
    paths.config.mkdir(parents=True)
    paths.config_file.write_text('{"isolation": "inline",\n oops')
    config = manager(paths)
    assert config.get("isolation") == "process"
    (warning,) = config.warnings
    assert "line 2, column 2" in warning
    assert "line 2, column 2" in capsys.readouterr().err
    assert names(paths.config) == {"config.json"}
    assert paths.config_file.read_text() == '{"isolation": "inline",\n oops'


def test_a_broken_file_is_set_aside_when_something_is_written(paths: Paths) -> None:
    """The broken text survives under a name of its own, again and again."""
    paths.config.mkdir(parents=True)
    for number in range(3):
        broken = f"{{broken {number}"
        paths.config_file.write_text(broken)
        config = manager(paths)
        config.set("isolation", "inline")
        saved = config.save()
        assert saved.set_aside is not None
        assert saved.set_aside.read_text() == broken
        assert saved.set_aside.name.startswith("config.json.broken-")
        assert json.loads(paths.config_file.read_text()) == {"version": 1, "isolation": "inline"}
    assert len(names(paths.config)) == 4


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80abc", b"[1]", b"", b"{}{}", b'"text"'])
def test_anything_that_is_no_settings_object_counts_as_broken(paths: Paths, content: bytes) -> None:
    """Bytes that are no text, and texts that are no object, are kept like any broken file."""
    paths.config.mkdir(parents=True)
    paths.config_file.write_bytes(content)
    config = manager(paths)
    assert config.broken
    config.set("isolation", "inline")
    aside = config.save().set_aside
    assert aside is not None
    assert aside.read_bytes() == content


def test_a_file_of_a_later_version_is_neither_read_nor_written(paths: Paths) -> None:
    """A later program's settings are refused, and never brought down to this one's version."""
    paths.config.mkdir(parents=True)
    text = '{"version": 2, "isolation": {"kind": "new"}}'
    paths.config_file.write_text(text)
    with pytest.raises(ConfigError, match="is of version 2"):
        manager(paths).get("isolation")
    with pytest.raises(ConfigError, match="is of version 2"):
        store.save(paths.config_file, [store.Edit(path=("isolation",), value="inline")])
    assert paths.config_file.read_text() == text
    assert names(paths.config) == {"config.json"}


def test_reset_keeps_the_old_file(paths: Paths) -> None:
    """Resetting writes the defaults and says where the old settings are."""
    paths.config.mkdir(parents=True)
    paths.config_file.write_text('{"isolation": "inline" /* mine */}')
    config = manager(paths)
    config.reset_to_defaults()
    assert config.get("isolation") == "process"
    saved = config.save()
    assert saved.set_aside is not None
    assert saved.set_aside.read_text() == '{"isolation": "inline" /* mine */}'
    assert json.loads(paths.config_file.read_text()) == {"version": 1}
    again = manager(paths)
    again.reset_to_defaults()
    assert again.save() == store.Saved(path=paths.config_file, changed=False)


def test_saving_applies_only_the_own_change_to_what_others_wrote_meanwhile(paths: Paths) -> None:
    """Two managers that loaded the same file and change different settings both succeed."""
    first, second = manager(paths), manager(paths)
    assert first.get("isolation") == second.get("isolation") == "process"
    first.set("isolation", "inline")
    second.set("model_path", "m")
    first.save()
    second.save()
    assert manager(paths).settings.isolation == "inline"
    assert manager(paths).settings.model_path == "m"


WRITER = """
    import sys
    from modelplug.config import ConfigManager
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[2])):
        config = ConfigManager()
        config.set(f"backends.writer{sys.argv[1]}.key{number}", number)
        config.save()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a small Python program that waits for a line."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_no_update(paths: Paths) -> None:
    """Three processes with twenty changes each leave sixty settings."""
    writers = [start(WRITER, number, 20) for number in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        with writer:
            assert writer.wait(60) == 0
    expected = {f"writer{w}": {f"key{n}": n for n in range(20)} for w in range(3)}
    assert manager(paths).effective["backends"] == expected


@posix
def test_a_writer_killed_at_any_moment_loses_nothing_and_leaves_no_lock(paths: Paths) -> None:
    """After each SIGKILL the file is whole, earlier settings are there, and the next writer goes on."""
    config = manager(paths)
    config.set("model_path", "precious")
    config.save()
    for attempt in range(6):
        with start(WRITER, attempt, 100_000) as writer:
            assert writer.stdout is not None
            assert writer.stdin is not None
            writer.stdout.readline()
            writer.stdin.write("\n")
            writer.stdin.flush()
            time.sleep(0.05 + 0.013 * attempt)
            writer.send_signal(signal.SIGKILL)
        Document.from_bytes(paths.config_file, paths.config_file.read_bytes())
        config = manager(paths)
        assert config.get("model_path") == "precious"
        config.set("isolation", "inline" if attempt % 2 else "process")
        config.save()
        assert names(paths.config) == {"config.json"}


@posix
def test_a_full_disk_is_a_clear_error_and_loses_nothing(paths: Paths) -> None:
    """When no more bytes can be stored, the error says so and the file is as it was."""
    config = manager(paths)
    config.set("model_path", "precious")
    config.save()
    before = paths.config_file.read_bytes()
    program = """
        import resource, sys
        from modelplug.config import ConfigManager
        from modelplug.errors import ConfigError
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        config = ConfigManager()
        config.set("backends.x.text", "y" * 5000)
        try:
            config.save()
        except ConfigError as error:
            print(error.what, error.why, error.advice, sep="|")
    """
    with start(program) as process:
        output, _ = process.communicate()
    assert "could not be written" in output
    assert "the file is as it was" in output
    assert "free some space" in output
    assert paths.config_file.read_bytes() == before
    assert names(paths.config) == {"config.json"}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter; the ones pytest makes are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@posix
@pytest.mark.parametrize("has_file", [True, False])
def test_a_read_only_home_can_be_read_and_is_a_clear_error_to_write(
    open_folder: Path, has_file: bool
) -> None:
    """Reading works and leaves no trace; writing says what to do; nothing is lost."""
    if has_file:
        (open_folder / "config.json").write_text('{"isolation": "inline"}')
    open_folder.chmod(0o555)
    program = """
        import os, sys, tempfile
        from modelplug.config import ConfigManager
        from modelplug.errors import ConfigError

        def attempt(home):
            config = ConfigManager(environ={"MODELPLUG_HOME": home})
            print(config.get("isolation"))
            config.set("model_path", "x")
            try:
                config.save()
            except ConfigError as error:
                print(error.what, error.why, error.advice, sep="|")

        if os.geteuid() == 0:
            # root may write anywhere, so this goes on as nobody, who may not read every module: they
            # are imported by a first run
            with tempfile.TemporaryDirectory() as scratch:
                attempt(scratch)
            os.seteuid(65534)
        print("now")
        attempt(sys.argv[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(open_folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.partition("now\n")[2].splitlines()
    assert lines[0] == ("inline" if has_file else "process")
    assert "could not be written" in lines[1]
    assert "set MODELPLUG_HOME" in lines[1]
    assert {entry.name for entry in open_folder.iterdir()} == ({"config.json"} if has_file else set())


def test_a_folder_in_place_of_the_file_is_a_clear_error(paths: Paths) -> None:
    """What can't be read as a file is reported, the defaults are used, and writing refuses."""
    paths.config_file.mkdir(parents=True)
    config = manager(paths)
    assert config.get("isolation") == "process"
    assert "can't be read" in config.broken
    config.set("isolation", "inline")
    with pytest.raises(ConfigError, match="could not be written"):
        config.save()
    assert paths.config_file.is_dir()


def test_a_lock_that_somebody_holds_is_waited_for_and_then_reported(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that hangs does not hang every other one."""
    import filelock

    monkeypatch.setattr(store, "LOCK_SECONDS", 0.2)
    config = manager(paths)
    config.set("isolation", "inline")
    paths.config.mkdir(parents=True)
    with filelock.FileLock(f"{paths.config_file}.lock"), pytest.raises(ConfigError, match="is in use"):
        config.save()
    assert config.save().changed


def test_replacing_the_whole_text_refuses_to_undo_somebody_elses_change(paths: Paths) -> None:
    """An editor that took long does not overwrite what was written meanwhile."""
    paths.config.mkdir(parents=True)
    paths.config_file.write_text('{"isolation": "inline"}')
    edited = Document.from_text(paths.config_file, '{"isolation": "process"}')
    with pytest.raises(ConfigError, match="changed by another program"):
        store.save_text(paths.config_file, edited, expected=b"{}")
    assert store.save_text(paths.config_file, edited, expected=b'{"isolation": "inline"}').changed


@posix
def test_a_linked_settings_file_stays_linked(paths: Paths, tmp_path: Path) -> None:
    """People keep their settings under version control and link to them."""
    real = tmp_path / "dotfiles.json"
    real.write_text("{} // mine\n")
    paths.config.mkdir(parents=True)
    paths.config_file.symlink_to(real)
    config = manager(paths)
    config.set("isolation", "inline")
    config.save()
    assert paths.config_file.is_symlink()
    assert real.read_text() == '{\n  "isolation": "inline"\n} // mine\n'
