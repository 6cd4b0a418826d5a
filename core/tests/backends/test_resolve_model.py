"""From what a user types for a model to the file that is meant."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    "typed",
    ["https://host/m.gguf", "hf://owner/name", "hf.co/owner/name", "huggingface.co/owner/name:Q4_0"],
)
def test_an_address_is_answered_with_what_to_do_first(typed: str) -> None:
    """Models are not downloaded, and whoever gives an address is told so."""
    with pytest.raises(
        ModelNotFoundError, match="that is an address, and models are not downloaded"
    ) as caught:
        resolve_model(typed, Runtime())
    assert "Fetch the file first" in caught.value.advice


def test_a_name_on_a_hub_may_also_be_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`owner/name` is a path first; if it is none, both meanings are answered."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="the folder owner does not exist") as caught:
        resolve_model("owner/name", Runtime())
    assert "models are not downloaded" in caught.value.why
    (tmp_path / "owner").mkdir()
    with pytest.raises(ModelNotFoundError, match="neither a file"):
        resolve_model("owner/name", Runtime())
    (tmp_path / "owner" / "name").write_bytes(b"x")
    assert resolve_model("owner/name", Runtime()) == tmp_path / "owner" / "name"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/nowhere/at/all", "it is a link to /nowhere/at/all, which does not exist"),
        ("loop.gguf", "it is a link to loop.gguf, which leads back to the link"),
        ("no\nwhere", r"it is a link to 'no\nwhere', which does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    """A broken link and a link to itself are named with their target, and never suggested."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.gguf").symlink_to(target)
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model("loop.gguf", Runtime())
    assert caught.value.why == words
    assert "Did you mean" not in caught.value.advice
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model("lop.gguf", Runtime())
    assert "loop.gguf" not in caught.value.advice


def test_names_that_no_line_can_show_are_not_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A near name with a line end in it is left out, and one beside it is not."""
    monkeypatch.chdir(tmp_path)
    for name in ("mod\nel.gguf", "model.gguf"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model("modl.gguf", Runtime())
    assert caught.value.advice.startswith("Did you mean model.gguf? ")


def test_a_folder_that_may_not_be_entered_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to search a folder nobody knows what is in it, and the error says so."""
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    real_stat, real_access = os.stat, os.access

    # The superuser may enter every folder, so the refusal is the system's only in its form.
    def stat(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{closed}{os.sep}"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_stat(path, **options)

    def access(path: Any, mode: int, **options: Any) -> bool:
        return path != closed and real_access(path, mode, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "access", access)
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model(closed / "inner" / "m.gguf", Runtime())
    assert caught.value.why == f"permission denied for the folder {closed}"
    assert "permission" in caught.value.advice


def test_a_registered_name_whose_file_became_a_broken_link_says_so(tmp_path: Path) -> None:
    """What became of a registered file is said, as for a path."""
    from modelplug.formats import inspect

    file = tmp_path / "model.gguf"
    file.write_bytes(demo_model_path().read_bytes())
    runtime = Runtime()
    runtime.history.add_model("tiny", file, inspect(file))
    file.unlink()
    file.symlink_to("/nowhere/at/all")
    with pytest.raises(ModelNotFoundError, match="it is a link to /nowhere/at/all"):
        resolve_model("tiny", runtime)
