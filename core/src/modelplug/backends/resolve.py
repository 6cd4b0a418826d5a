"""From what a user types for a model to the file that is meant."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.errors import ModelNotFoundError

if TYPE_CHECKING:
    from modelplug.runtime import Runtime

__all__ = ["DEMO", "resolve_model"]

DEMO = "demo"
"""The name of the bundled model. A file of that name is reached as `./demo`."""


def resolve_model(name_or_path: str | os.PathLike[str], runtime: Runtime) -> Path:
    """The path of the model that is meant: the bundled one, a file or directory, or a registered name.

    Args:
        name_or_path: What the user typed; `~` is expanded.
        runtime: Its history knows the registered names.

    Raises:
        ModelNotFoundError: There is neither.
    """
    text = os.fspath(name_or_path)
    if text == DEMO:
        from modelplug.data import demo_model_path

        return demo_model_path()
    path = _expanded(text)
    if text and _exists(path):
        return path.absolute()
    if not _looks_like_a_path(text):
        known = runtime.history.find_model(text)
        if known is not None:
            return _still_there(known.path, text)
    raise _not_found(text, path, runtime)


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # `~name` of a user that this system does not have.
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # Longer than the system takes, or with a NUL in it.
        return False


def _looks_like_a_path(text: str) -> bool:
    return os.sep in text or (os.altsep is not None and os.altsep in text) or text.startswith((".", "~"))


def _still_there(path: Path, name: str) -> Path:
    if path.exists():
        return path
    raise ModelNotFoundError(
        f"the model registered as {name!r} is no longer there",
        path=path,
        why=f"{path} does not exist",
        advice=f"Register its new place with `modelplug models add {name} PATH`.",
    )


def _not_found(text: str, path: Path, runtime: Runtime) -> ModelNotFoundError:
    names = [DEMO, *(model.name for model in runtime.history.models())]
    near = difflib.get_close_matches(text, names, n=2)
    folder = path.parent
    is_there = _exists(folder)
    for name in difflib.get_close_matches(path.name, _names_in(folder) if is_there else (), n=2):
        near.append(str(folder / name) if folder != Path() else name)
    missing = "" if is_there else f"the folder {folder} does not exist"
    did_you_mean = f"Did you mean {' or '.join(near)}? " if near else ""
    return ModelNotFoundError(
        f"there is no model {text!r}",
        path=path,
        why=missing or "it is neither a file, nor a folder, nor a registered name",
        advice=f"{did_you_mean}`modelplug models list` shows the registered names; `demo` is always there.",
    )


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        # One that can't be listed has nothing to suggest.
        return []
