"""From what a user types for a model to the file that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelplug.backends.resolve import resolve_model
from modelplug.data import demo_model_path
from modelplug.errors import ModelNotFoundError
from modelplug.runtime import Runtime


def test_demo_is_the_bundled_model() -> None:
    """The name `demo` needs no file."""
    assert resolve_model("demo", Runtime()) == demo_model_path()


def test_a_path_is_made_absolute_and_its_tilde_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths, paths below the home directory and path objects all work."""
    (tmp_path / "m.gguf").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("m.gguf", "./m.gguf", "~/m.gguf", tmp_path / "m.gguf"):
        assert resolve_model(name, Runtime()) == tmp_path / "m.gguf"


def test_a_file_named_demo_is_reached_with_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./demo` is a file, `demo` is the bundled model."""
    (tmp_path / "demo").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("./demo", Runtime()) == tmp_path / "demo"
    assert resolve_model("demo", Runtime()) == demo_model_path()


def test_a_registered_name_is_its_file(tmp_path: Path) -> None:
    """A name from the registry leads to its file, and says so when that has gone."""
    file = tmp_path / "model.gguf"
    file.write_bytes(demo_model_path().read_bytes())
    runtime = Runtime()
    from modelplug.formats import inspect

    runtime.history.add_model("tiny", file, inspect(file))
    assert resolve_model("tiny", runtime) == file
    file.unlink()
    with pytest.raises(ModelNotFoundError, match="no longer there") as caught:
        resolve_model("tiny", runtime)
    assert "models add tiny" in caught.value.advice


@pytest.mark.parametrize(
    ("typed", "advice"),
    [("dmo", "Did you mean demo?"), ("modle.gguf", "Did you mean model.gguf?"), ("zzz", "models list")],
)
def test_what_is_not_there_is_answered_with_what_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, advice: str
) -> None:
    """A mistyped name is answered with near names and near files."""
    (tmp_path / "model.gguf").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model(typed, Runtime())
    assert advice in caught.value.advice
    assert caught.value.path == Path(typed)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """If even the folder is missing, that is the reason given."""
    with pytest.raises(ModelNotFoundError, match=r"the folder .*nowhere does not exist"):
        resolve_model(tmp_path / "nowhere" / "m.gguf", Runtime())


@pytest.mark.parametrize("odd", ["", "\0", "a" * 5000, "demo\n", "~nobody-of-this-name/x"])
def test_odd_names_are_not_found_and_nothing_worse(odd: str) -> None:
    """Empty names, NUL, names longer than the system takes and unknown users give the same error."""
    with pytest.raises(ModelNotFoundError):
        resolve_model(odd, Runtime())


def test_a_folder_that_can_not_be_read_is_no_second_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for near names must not fail where the folder can't be listed."""

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ModelNotFoundError):
        resolve_model(tmp_path / "x.gguf", Runtime())
