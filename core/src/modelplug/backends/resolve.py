"""From what a user types for a model to the file that is meant."""

from __future__ import annotations

import difflib
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.data.bundled import bundled_models, find_bundled
from modelplug.errors import ModelNotFoundError

if TYPE_CHECKING:
    from modelplug.backends.types import BackendReport
    from modelplug.data.bundled import BundledModel
    from modelplug.runtime import Runtime

__all__ = ["resolve_model"]

# Addresses of any kind, and the short ones that model hubs use.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(www\.)?(hf\.co|huggingface\.co|modelscope\.cn)/", re.IGNORECASE)
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(:\w[\w.-]*)?")
_FETCH = "Fetch the file first, then give its path: `modelplug run ./model.gguf PROMPT`."
_DENIED = "permission denied for the folder"


def resolve_model(name_or_path: str | os.PathLike[str], runtime: Runtime) -> Path:
    """The path of the model that is meant: a bundled one, a file or directory, or a registered name.

    Args:
        name_or_path: What the user typed; `~` is expanded.
        runtime: Its plugins bring models, and its history knows the registered names.

    Raises:
        ModelNotFoundError: There is neither.
    """
    text = os.fspath(name_or_path)
    bundled = _bundled(text, runtime)
    if bundled is not None:
        return bundled.existing_path()
    path = _expanded(text)
    if text and _exists(path):
        return path.absolute()
    if not _looks_like_a_path(text):
        known = runtime.history.find_model(text)
        if known is not None:
            return _still_there(known.path, text)
    raise _not_found(text, path, runtime)


def _bundled(text: str, runtime: Runtime) -> BundledModel | None:
    """The bundled model of that name, unless the user has given the name to another one."""
    found = find_bundled(text, runtime.plugins)
    if found is None or not found.plugin or runtime.history.find_model(text) is None:
        return found
    return None


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
    if _exists(path):
        return path
    raise ModelNotFoundError(
        f"the model registered as {name!r} is no longer there",
        path=path,
        why=_fault_of(path) or f"{_shown(path)} does not exist",
        advice=f"Register its new place with `modelplug models add {name} PATH`, or let "
        "`modelplug models scan` look for it.",
    )


def _not_found(text: str, path: Path, runtime: Runtime) -> ModelNotFoundError:
    what = f"there is no model {text!r}"
    if _ADDRESS.match(text):
        why = "that is an address, and models are not downloaded"
        return ModelNotFoundError(what, path=path, why=why, advice=_FETCH)
    fault = _fault_of(path)
    if fault:
        return ModelNotFoundError(what, path=path, why=fault, advice=_fault_advice(fault))
    folder = path.parent
    missing = "" if _exists(folder) else f"the folder {_shown(folder)} does not exist"
    if missing and _HUB_NAME.fullmatch(text):
        why = f"{missing}; and if a name on a model hub is meant, models are not downloaded"
        return ModelNotFoundError(what, path=path, why=why, advice=_FETCH)
    absent = _absent_backend(text, runtime)
    if absent is not None:
        why = f"it comes with the backend {absent.name}, which can't be used: {absent.cause}"
        return ModelNotFoundError(what, path=path, why=why, advice=absent.install)
    near = _near(text, path, runtime)
    did_you_mean = f"Did you mean {' or '.join(near)}? " if near else ""
    return ModelNotFoundError(
        what,
        path=path,
        why=missing or "it is neither a file, nor a folder, nor a registered name",
        advice=f"{did_you_mean}`modelplug models list` shows the registered names; `demo` is always there.",
    )


def _absent_backend(name: str, runtime: Runtime) -> BackendReport | None:
    """The backend whose plugin would bring a model of that name, if only it were there."""
    from modelplug.backends.known import KNOWN_BACKENDS

    known = next((backend for backend in KNOWN_BACKENDS.values() if name in backend.models), None)
    report = None if known is None else runtime.backends.reports()[known.name]
    return None if report is None or report.usable else report


def _fault_of(path: Path) -> str:
    """What is wrong with a path of which something is there; empty if nothing is."""
    try:
        path.stat()
    except PermissionError:
        folder = next((one for one in reversed(path.parents) if not os.access(one, os.X_OK)), path.parent)
        return f"{_DENIED} {_shown(folder)}"
    except (OSError, ValueError) as error:
        reason = error
    else:
        return ""
    try:
        target = path.readlink()
    except (OSError, ValueError):
        # Not a link, so there is nothing.
        return ""
    if isinstance(reason, OSError) and reason.errno == errno.ELOOP:
        return f"it is a link to {_shown(target)}, which leads back to the link"
    return f"it is a link to {_shown(target)}, which does not exist"


def _fault_advice(fault: str) -> str:
    if fault.startswith(_DENIED):
        return "Get the permission to search that folder, or have the model put elsewhere."
    return "Make the link anew (`ln -sfn FILE LINK`), or give the path of the file itself."


def _near(text: str, path: Path, runtime: Runtime) -> list[str]:
    """Names of models that exist and look like what was typed."""
    names = [*bundled_models(runtime.plugins), *(model.name for model in runtime.history.models())]
    near = difflib.get_close_matches(text, names, n=2)
    folder = path.parent
    for name in difflib.get_close_matches(path.name, _names_in(folder), n=6):
        # A suggestion is there to be typed, and must not be what has just failed.
        if name != path.name and name.isprintable() and _exists(folder / name):
            near.append(str(folder / name) if folder != Path() else name)
    return near[:4]


def _shown(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else repr(text)


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        # One that can't be listed has nothing to suggest.
        return []
