"""Writes files so that a reader, or a crash, sees the old content or the new one and nothing between."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["move_into_place", "write_atomically"]

_WINDOWS_ATTEMPTS = 20
_WINDOWS_PAUSE = 0.05
# Some network file systems refuse to sync a folder; the content itself is safe by then.
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


def write_atomically(path: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Replace the content of `path` in one step that survives a power cut.

    The new content goes to a temporary file in the same folder, is flushed to the disk, and takes the file's
    place. A symbolic link stays a link and its target is replaced. Missing folders are made. If anything
    fails, the file is as it was and the temporary file is gone.

    Args:
        path: The file to write; it need not exist.
        data: The new content; text is written as UTF-8, line ends as they are.
        mode: Permission bits; None keeps those of the existing file, or gives 0o666 less the umask.

    Raises:
        OSError: The folder can't be written, the disk is full, or the like.
    """
    target = Path(os.path.realpath(path))
    content = data.encode() if isinstance(data, str) else data
    target.parent.mkdir(parents=True, exist_ok=True)
    before = _status(target)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            _dress(temporary, before, mode)
            os.fsync(stream.fileno())
        _replace(temporary, target)
    except BaseException:
        # Also for KeyboardInterrupt: the temporary file is ours alone.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def move_into_place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, in one step that survives a power cut.

    Args:
        temporary: The file, in the folder of `target`.
        target: Its name from now on; a file of that name is replaced.

    Raises:
        OSError: It can't be written to the disk, or renamed; `target` is as it was.
    """
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    _replace(temporary, target)
    _sync_folder(target.parent)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _dress(temporary: Path, before: os.stat_result | None, mode: int | None) -> None:
    """Give the new file the owner and permissions it should have, before anybody can see it."""
    if before is not None and sys.platform != "win32":
        # Only root may give a file away, and the group only to one of its own: as far as it goes.
        with contextlib.suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
    if mode is None:
        mode = stat.S_IMODE(before.st_mode) if before is not None else 0o666 & ~_umask()
    temporary.chmod(mode)


def _umask() -> int:
    # There is no way to read it without setting it; the value set in between is the strictest.
    current = os.umask(0o077)
    os.umask(current)
    return current


def _replace(temporary: Path, target: Path) -> None:
    """`os.replace`, with patience on Windows, where a virus scanner may hold the file for a moment."""
    attempts = _WINDOWS_ATTEMPTS if os.name == "nt" else 1
    for _ in range(attempts - 1):
        with contextlib.suppress(PermissionError):
            temporary.replace(target)
            return
        time.sleep(_WINDOWS_PAUSE)
    temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where folders can be opened at all."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise
    finally:
        os.close(descriptor)
