"""`modelplug models`, through the program's own entry point."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from modelplug.cli.main import main
from modelplug.data.bundled import BundledModel

if TYPE_CHECKING:
    from pathlib import Path


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `modelplug models ...` in a scratch home."""
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["models", *arguments])
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call


def tiny_gguf(path: Path, architecture: str = "llama") -> Path:
    """The smallest file that is a model: one tensor of 32 numbers."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    head += text("general.architecture") + struct.pack("<I", 8) + text(architecture)
    head += text("token_embd.weight") + struct.pack("<IQQIQ", 2, 8, 4, 0, 0)
    head += b"\0" * (-len(head) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\0" * 128)
    return path


def own_models(run: Run) -> list[dict[str, Any]]:
    """What was added here, without what comes with something installed."""
    return [model for model in json.loads(run("list", "--json").out) if model["distribution"] is None]


def test_the_demo_model_is_always_listed(run: Run) -> None:
    """A new user sees a name to start with, what it is, and where it comes from."""
    outcome = run("list")
    first = json.loads(run("list", "--json").out)[0]
    assert outcome.status == 0
    assert re.search(r"^demo +gguf llama Q8_0 .* comes with modelplug$", outcome.out, re.MULTILINE)
    assert (first["name"], first["distribution"], first["format"]) == ("demo", "modelplug", "gguf")
    assert own_models(run) == []


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that a plugin brings under the name `toy`."""
    path = tiny_gguf(tmp_path / "plugin" / "toy.gguf", "falcon")
    bundled = BundledModel(name="toy", path=path, plugin="toys", distribution="toys-for-all")
    monkeypatch.setattr("modelplug.data.bundled.bundled_models", lambda _: {"toy": bundled})
    return path


def test_what_a_plugin_brings_is_listed_with_its_origin(run: Run, toy: Path) -> None:
    """What it is, and who brought it; where the installation lacks it, that it is missing."""
    assert re.search(r"^toy +gguf falcon .* comes with toys-for-all$", run("list").out, re.MULTILINE)
    (model,) = json.loads(run("list", "--json").out)
    assert (model["name"], model["path"], model["distribution"]) == ("toy", str(toy), "toys-for-all")
    toy.unlink()
    assert "comes with toys-for-all (missing)" in run("list").out


def test_a_name_that_a_plugin_brings_is_taken(run: Run, toy: Path, tmp_path: Path) -> None:
    """Nobody else gets it, by hand or by a scan; `remove` does not know it as one of the user's own."""
    outcome = run("add", "toy", str(tiny_gguf(tmp_path / "a.gguf")))
    assert outcome.status == 2
    assert "comes with toys-for-all" in outcome.err
    tiny_gguf(tmp_path / "models" / "toy.gguf")
    (found,) = json.loads(run("scan", str(tmp_path / "models"), "--add", "--json").out)
    assert found["name"] == "toy-2"
    assert run("remove", "toy").status == 2


def test_a_name_that_was_the_users_before_stays_theirs(
    run: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A plugin that comes later neither hides it in the list nor keeps it from being given anew."""
    first, second = tiny_gguf(tmp_path / "a.gguf"), tiny_gguf(tmp_path / "b.gguf")
    run("add", "toy", str(first))
    request.getfixturevalue("toy")
    assert run("add", "toy", str(second)).status == 0
    (model,) = json.loads(run("list", "--json").out)
    assert (model["path"], model["distribution"]) == (str(second), None)


def test_a_model_is_added_listed_and_removed(run: Run, tmp_path: Path) -> None:
    """A name leads to a file, with what inspection found, until it is forgotten."""
    path = tiny_gguf(tmp_path / "a.gguf")
    outcome = run("add", "tiny", str(path))
    assert outcome.status == 0
    assert "modelplug run tiny" in outcome.out
    (model,) = own_models(run)
    assert (model["name"], model["path"], model["format"], model["architecture"], model["exists"]) == (
        "tiny",
        str(path),
        "gguf",
        "llama",
        True,
    )
    path.unlink()
    assert "(missing)" in run("list").out
    assert "its file stays" in run("remove", "tiny").out
    assert own_models(run) == []


def test_a_name_can_be_given_to_another_model(run: Run, tmp_path: Path) -> None:
    """The old path is mentioned."""
    first, second = tiny_gguf(tmp_path / "a.gguf"), tiny_gguf(tmp_path / "b.gguf", "falcon")
    run("add", "x", str(first))
    outcome = run("add", "x", str(second))
    assert str(first) in outcome.err
    (model,) = own_models(run)
    assert (model["path"], model["architecture"]) == (str(second), "falcon")


def test_what_is_no_model_gets_no_name(run: Run, tmp_path: Path) -> None:
    """Inspection comes first: text, truncated and missing files are refused with its own words."""
    text = tmp_path / "page.gguf"
    text.write_text("<!DOCTYPE html><html>not found</html>")
    cut = tiny_gguf(tmp_path / "cut.gguf")
    cut.write_bytes(cut.read_bytes()[:-8])
    for path in (text, cut, tmp_path / "none.gguf"):
        outcome = run("add", "x", str(path))
        assert outcome.status == 1
        assert outcome.err.startswith("error: ")
    assert own_models(run) == []


@pytest.mark.parametrize("name", ["demo", "a/b"])
def test_reserved_names_are_usage_errors_before_the_file_is_looked_at(run: Run, name: str) -> None:
    """Exit 2, whatever the path is."""
    assert run("add", name, "/nowhere").status == 2


def test_removing_an_unknown_name_names_the_nearest(run: Run, tmp_path: Path) -> None:
    """A misspelt name is answered with the right one."""
    run("add", "llama-tiny", str(tiny_gguf(tmp_path / "a.gguf")))
    outcome = run("remove", "lama-tiny")
    assert outcome.status == 2
    assert "llama-tiny" in outcome.err


def test_scan_finds_models_and_tells_what_it_leaves_out(run: Run, tmp_path: Path) -> None:
    """Folders are searched, later shards and hidden folders are not, damaged files are named."""
    folder = tmp_path / "models"
    tiny_gguf(folder / "a.gguf")
    tiny_gguf(folder / "deep" / "b.gguf")
    tiny_gguf(folder / ".hidden" / "c.gguf")
    tiny_gguf(folder / "big-00002-of-00003.gguf")
    (folder / "bad.gguf").write_bytes(b"GGUF")
    (folder / "notes.txt").write_text("not a model")
    outcome = run("scan", str(folder))
    assert outcome.status == 0
    assert "a.gguf" in outcome.out
    assert "b.gguf" in outcome.out
    assert "c.gguf" not in outcome.out
    assert "big-00002" not in outcome.out + outcome.err
    assert "bad.gguf" in outcome.err
    assert own_models(run) == []


def test_scan_can_name_everything_it_finds_and_does_so_once(run: Run, tmp_path: Path) -> None:
    """Names come from files and are never given twice; a second run adds nothing."""
    folder = tmp_path / "models"
    tiny_gguf(folder / "a.gguf")
    tiny_gguf(folder / "deep" / "a.gguf")
    tiny_gguf(folder / "demo.gguf")
    found = json.loads(run("scan", str(folder), "--add", "--json").out)
    assert sorted(entry["name"] for entry in found) == ["a", "a-2", "demo-2"]
    run("scan", str(folder), "--add")
    assert [model["name"] for model in own_models(run)] == ["a", "a-2", "demo-2"]


def test_a_home_that_cannot_be_written_is_a_clear_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding says why the name can't be kept; listing still works."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "file" / "home"))
    path = tiny_gguf(tmp_path / "a.gguf")
    outcome = run("add", "x", str(path))
    assert outcome.status == 1
    assert "can't be kept" in outcome.err
    assert run("list").status == 0
