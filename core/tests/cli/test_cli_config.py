"""`modelplug config`, through the program's own entry point."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import attrs
import pytest

from modelplug.backends.types import BackendSettings
from modelplug.cli.main import main
from modelplug.config import ConfigValidator, validation


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """For the tests."""

    executable: str | None = None


Run = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch home, and one backend that is installed."""
    for name in [name for name in os.environ if name.startswith("MODELPLUG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(validation, "installed_settings_classes", lambda _plugins: {"engine": EngineSettings})
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `modelplug config ...`."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["config", *arguments])
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call


def test_show_lists_every_setting(run: Run) -> None:
    """Without a file, the defaults are shown."""
    outcome = run("show")
    assert outcome.status == 0
    assert any(line.split() == ["isolation", '"process"'] for line in outcome.out.splitlines())
    assert json.loads(run("show", "--json").out)["deadlines"]["load"] == 600


def test_show_origin_says_where_each_value_comes_from(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default, file with its line, environment variable."""
    home.mkdir()
    (home / "config.json").write_text('{\n  "isolation": "inline"\n}')
    monkeypatch.setenv("MODELPLUG_BACKEND", "engine")
    out = run("show", "--origin").out
    rows = {line.split()[0]: " ".join(line.split()[2:]) for line in out.splitlines()[1:] if line}
    assert rows["isolation"] == f"{home / 'config.json'}:2"
    assert rows["preferred_backend"] == "environment MODELPLUG_BACKEND"
    assert rows["deadlines.load"] == "default"
    as_json = json.loads(run("show", "--origin", "--json").out)
    assert as_json["isolation"] == {
        "value": "inline",
        "origin": f"{home / 'config.json'}:2",
        "layer": "file",
    }


SET = [
    ("isolation", "inline", "inline"),
    ("fallback_enabled", "false", False),
    ("fallback_order", "a,b", ["a", "b"]),
    ("model_path", "35", "35"),
    ("backends.engine.gpu_layers", "-1", -1),
    ("backends.engine.executable", "/opt/x", "/opt/x"),
    ("backends.other.anything", '{"a": [1]}', {"a": [1]}),
    ("generation", '{"seed": 1}', {"seed": 1}),
]


@pytest.mark.parametrize(("key", "typed", "value"), SET)
def test_set_writes_what_get_then_prints(run: Run, key: str, typed: str, value: object) -> None:
    """A value is read as its setting wants it, and comes back."""
    assert run("set", key, typed).status == 0
    found = json.loads(run("get", key, "--json").out)
    if isinstance(value, dict):  # an object is joined with the defaults below it
        found = {name: found[name] for name in value}
    assert found == value


def test_get_prints_text_plainly_for_scripts(run: Run) -> None:
    """`$(modelplug config get isolation)` needs no unquoting."""
    assert run("get", "isolation").out == "process\n"
    assert run("get", "preferred_backend").out == "null\n"


REFUSED = [
    (("set", "isolation", "inlin"), 'did you mean "inline"?'),
    (("set", "isolaton", "inline"), "did you mean isolation?"),
    (("set", "backends.engine.gpu_layer", "3"), "modelplug config set backends.engine.gpu_layers VALUE"),
    (("set", "backends.engine.gpu_layers", "many"), "a whole number or null"),
    (("get", "isolaton"), "did you mean isolation?"),
    (("get", "zzz"), "modelplug config show"),
]


@pytest.mark.parametrize(("arguments", "hint"), REFUSED)
def test_mistakes_are_answered_with_what_to_type(
    run: Run, home: Path, arguments: tuple[str, ...], hint: str
) -> None:
    """A refused command exits with 1, says what is meant, and writes nothing."""
    outcome = run(*arguments)
    assert outcome.status == 1
    assert hint in outcome.err
    assert not (home / "config.json").exists()


def test_set_says_when_the_environment_overrides_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change without effect is not silent."""
    monkeypatch.setenv("MODELPLUG_ISOLATION", "process")
    outcome = run("set", "isolation", "inline")
    assert outcome.status == 0
    assert "MODELPLUG_ISOLATION is set in the environment" in outcome.err


def test_unset_takes_one_line_out(run: Run, home: Path) -> None:
    """Comments and the rest stay; a setting that is not there is no failure."""
    home.mkdir()
    (home / "config.json").write_text('{\n  // mine\n  "isolation": "inline",\n  "x": 1\n}\n')
    assert run("unset", "isolation").status == 0
    assert (home / "config.json").read_text() == '{\n  // mine\n  "x": 1\n}\n'
    assert "is not in" in run("unset", "isolation").err


def test_validate_prints_issues_and_exits_with_one(run: Run, home: Path, tmp_path: Path) -> None:
    """Errors decide the status, warnings and notes do not."""
    missing = run("validate")
    assert missing.status == 0
    assert "the defaults are in force" in missing.err
    file = tmp_path / "other.json"
    file.write_text('{"isolation": "x", "mine": 1, "backends": {"zzz": {}}}')
    outcome = run("validate", str(file))
    assert outcome.status == 1
    assert 'error: line 1: isolation = "x"' in outcome.err
    assert "warning: line 1: mine = 1" in outcome.err
    assert "note: line 1: backends.zzz" in outcome.err
    plain = json.loads(run("validate", str(file), "--json").out)
    assert plain["valid"] is False
    assert [issue["key"] for issue in plain["issues"]] == ["isolation", "mine"]
    file.write_text("{}")
    assert run("validate", str(file)).out == f"{file} is valid\n"
    assert run("validate", str(tmp_path / "none.json")).status == 1


def test_reset_says_where_the_old_file_is(run: Run, home: Path) -> None:
    """Nothing is lost by resetting."""
    home.mkdir()
    (home / "config.json").write_text('{"isolation": "inline"}')
    out = run("reset").out
    (kept,) = home.glob("config.json.before-reset-*")
    assert str(kept) in out
    assert kept.read_text() == '{"isolation": "inline"}'
    assert run("get", "isolation").out == "process\n"


@pytest.mark.parametrize("arguments", [(), ("--preset", "nvidia"), ("--preset", "apple")])
def test_template_prints_a_file_that_validates(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What is printed is settings, with comments."""
    out = run("template", *arguments).out
    file = tmp_path / "config.json"
    file.write_text(out)
    result = ConfigValidator({"engine": EngineSettings}).validate_config(file)
    assert result.valid, [str(issue) for issue in result.issues]
    assert "//" in out


def test_template_with_an_unknown_preset_is_a_usage_error(run: Run) -> None:
    """Exit 2, and the presets there are."""
    outcome = run("template", "--preset", "intel")
    assert outcome.status == 2
    assert "nvidia, amd, cpu, apple" in outcome.err


def test_path_prints_where_the_file_would_be(run: Run, home: Path) -> None:
    """Also when there is none yet."""
    assert run("path").out == f"{home / 'config.json'}\n"


def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Make a small Python program the editor; `text` is what it finds and what it leaves."""
    program = tmp_path / "editor.py"
    program.write_text(
        "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
        f"{code}\npath.write_text(text)\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {program}")


def test_edit_replaces_the_file_only_by_valid_settings(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound edit is taken over; one that is not is kept elsewhere, and the file stays."""
    editor(monkeypatch, tmp_path, 'text = \'{"isolation": "inline"} // edited\'')
    outcome = run("edit")
    assert outcome.status == 0
    assert (home / "config.json").read_text() == '{"isolation": "inline"} // edited'
    editor(monkeypatch, tmp_path, 'text = text.replace("inline", "inlin")')
    outcome = run("edit")
    assert outcome.status == 1
    assert "were not taken over" in outcome.err
    assert (home / "config.json").read_text() == '{"isolation": "inline"} // edited'
    kept = Path(outcome.err.rpartition("your text is kept in ")[2].strip())
    assert kept.read_text() == '{"isolation": "inlin"} // edited'
    kept.unlink()
    kept.parent.rmdir()


def test_edit_repairs_a_broken_file(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that can't be read can still be edited."""
    home.mkdir()
    (home / "config.json").write_text('{"isolation": "inline"')
    editor(monkeypatch, tmp_path, 'text += "}"')
    assert run("edit").status == 0
    assert (home / "config.json").read_text() == '{"isolation": "inline"}'


def test_edit_that_changes_nothing_writes_nothing(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving the editor without a change leaves the file alone."""
    home.mkdir()
    file = home / "config.json"
    file.write_text("{}")
    before = file.stat().st_mtime_ns
    editor(monkeypatch, tmp_path, "pass")
    assert "as it was" in run("edit").out
    assert file.stat().st_mtime_ns == before


def test_a_broken_file_is_reported_once_by_every_command_that_reads_it(run: Run, home: Path) -> None:
    """The defaults are shown, and the reader knows why."""
    home.mkdir()
    (home / "config.json").write_text("{oops")
    outcome = run("show")
    assert outcome.status == 0
    assert outcome.err.count("can't be understood") == 1
    assert run("set", "isolation", "inline").status == 0
    (kept,) = home.glob("config.json.broken-*")
    assert kept.read_text() == "{oops"


def test_a_newer_file_is_refused_by_every_command_that_uses_it(run: Run, home: Path) -> None:
    """Exit 1, and advice to upgrade."""
    home.mkdir()
    (home / "config.json").write_text('{"version": 9}')
    for arguments in (("show",), ("get", "isolation"), ("set", "isolation", "inline")):
        outcome = run(*arguments)
        assert outcome.status == 1
        assert "upgrade modelplug" in outcome.err
    assert (home / "config.json").read_text() == '{"version": 9}'


def test_validate_looks_at_the_environment_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that overrides a setting with nonsense, or is misspelt, is reported."""
    monkeypatch.setenv("MODELPLUG_ISOLATION", "inlin")
    monkeypatch.setenv("MODELPLUG_FALBACK", "never")

    outcome = run("validate")

    assert outcome.status == 1
    assert 'environment variable MODELPLUG_ISOLATION: isolation = "inlin"' in outcome.err
    assert "did you mean MODELPLUG_FALLBACK?" in outcome.err


def test_an_editor_that_does_not_start_is_told_and_leaves_nothing(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error looks like every other, and no copy of the settings is left behind."""
    monkeypatch.setenv("EDITOR", str(tmp_path / "no-such-editor"))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    outcome = run("edit")

    assert outcome.status == 1
    assert outcome.err.startswith("error: the editor failed")
    assert "set EDITOR to an editor" in outcome.err
    assert not list(tmp_path.glob("modelplug-edit-*"))
    assert not (home / "config.json").exists()
