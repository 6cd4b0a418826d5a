"""Reads and writes the settings file: locked, atomic, and never over something it could not read."""

from __future__ import annotations

import datetime
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.document import Document, KeyPath
from modelplug.config.schema import VERSION
from modelplug.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["EMPTY", "Edit", "Saved", "read", "refuse_newer", "save", "save_text", "set_aside"]

LOCK_SECONDS = 10.0
EMPTY = f'{{\n  "version": {VERSION}\n}}\n'
"""What a settings file holds that says nothing yet."""


@attrs.frozen(kw_only=True)
class Edit:
    """One change: a new value, or none.

    Attributes:
        path: The setting.
        value: Its new value.
        remove: Whether it is taken out of the file instead.
    """

    path: KeyPath
    value: Any = None
    remove: bool = False


@attrs.frozen(kw_only=True)
class Saved:
    """What writing did.

    Attributes:
        path: The settings file.
        changed: Whether its content is different now.
        set_aside: The copy of what stood there before, if it was broken or everything was reset.
    """

    path: Path
    changed: bool
    set_aside: Path | None = None


def read(path: Path) -> Document | None:
    """The settings file, or None if there is none.

    Raises:
        ConfigError: It can't be read, or not understood.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"the settings file {path} can't be read",
            path=path,
            why=error.strerror or str(error),
            advice=f"make {path} a file that you may read, or point MODELPLUG_HOME to another folder",
        ) from error
    return Document.from_bytes(path, data)


def refuse_newer(document: Document) -> None:
    """Make sure that the file was not written by a later program.

    Raises:
        ConfigError: It was, and reading it by today's rules could lose or misread something.
    """
    version = document.value.get("version", VERSION)
    if type(version) is int and version > VERSION:
        raise ConfigError(
            f"the settings file {document.path} is of version {version}",
            key="version",
            value=version,
            path=document.path,
            why=f"this program knows versions up to {VERSION}, and leaves a later one alone",
            advice="upgrade modelplug (`pip install --upgrade modelplug`), or move the file away",
        )


def save(path: Path, edits: Sequence[Edit], *, reset: bool = False) -> Saved:
    """Apply edits to what the file holds now, whoever wrote it last.

    Args:
        path: The settings file.
        edits: What to change, in order.
        reset: Whether to start from an empty file.

    Raises:
        ConfigError: The file is of a later version, or can't be written; it is as it was.
    """
    if not edits and not reset:
        return Saved(path=path, changed=False)
    with _locked(path):
        return _save(path, edits, reset=reset)


def save_text(path: Path, document: Document, *, expected: bytes | None) -> Saved:
    """Replace the whole file, provided that it still is what the new text was made from.

    Args:
        path: The settings file.
        document: The new text.
        expected: The bytes that stood there when the work began; None if there was no file.

    Raises:
        ConfigError: Somebody else has changed the file meanwhile, or it can't be written.
    """
    with _locked(path):
        current = path.read_bytes() if path.exists() else None
        if current != expected:
            raise ConfigError(
                f"the settings file {path} was changed by another program meanwhile",
                path=path,
                why="writing now would undo that change",
                advice="look at both versions and edit again",
            )
        new = document.to_bytes()
        if new != current:
            _write(path, new)
        return Saved(path=path, changed=new != current)


def _save(path: Path, edits: Sequence[Edit], *, reset: bool) -> Saved:
    _remove_remains(path)
    aside: Path | None = None
    old = _current(path)
    try:
        document = Document.from_bytes(path, old) if old is not None and not reset else None
    except ConfigError:
        aside = set_aside(path, "broken")
        document = None
    if document is not None:
        refuse_newer(document)
    elif reset and old is not None and old != EMPTY.encode():
        aside = set_aside(path, "before-reset")
    document = document or Document.from_text(path, EMPTY)
    for edit in edits:
        document = document.without(edit.path) if edit.remove else document.with_value(edit.path, edit.value)
    new = document.to_bytes()
    if new != old:
        _write(path, new)
        return Saved(path=path, changed=True, set_aside=aside)
    return Saved(path=path, changed=False, set_aside=aside)


def _write(path: Path, data: bytes) -> None:
    # Most programs only read settings, and need not pay for the modules that writing takes.
    from modelplug.atomic import write_atomically

    write_atomically(path, data)


def _remove_remains(path: Path) -> None:
    """Delete temporary files of writers that were killed; holding the lock, nobody else is writing."""
    for remains in path.parent.glob(f".{path.name}.*.tmp"):
        remains.unlink(missing_ok=True)


def _current(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def set_aside(path: Path, reason: str) -> Path:
    """A copy of the file under a name that says why and when; nothing is ever overwritten.

    Args:
        path: The file.
        reason: One word for the name.
    """
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    data = path.read_bytes()
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        copy = path.with_name(f"{path.name}.{reason}-{moment}{suffix}")
        try:
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        return copy
    raise ConfigError(f"there are too many copies of {path}", path=path, advice="remove some of them")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that every writer of the file takes, and turn system errors into ours."""
    import filelock

    lock = filelock.FileLock(f"{path}.lock", timeout=LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            yield
    except filelock.Timeout as error:
        raise ConfigError(
            f"the settings file {path} is in use",
            path=path,
            why=f"another program has held {path}.lock for more than {LOCK_SECONDS:g} seconds",
            advice="wait for it to end, and try again",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = f"free some space on the disk of {path.parent}, and try again"
    else:
        advice = f"make {path.parent} writable, or set MODELPLUG_HOME to a folder that is"
    return ConfigError(
        f"the settings could not be written to {path}",
        path=path,
        why=f"{error.strerror or error}; the file is as it was",
        advice=advice,
    )
