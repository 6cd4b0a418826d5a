"""Every call the transactions make to the file system, so thin that tests can make each of them fail."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["FileSystem"]

_WINDOWS_ATTEMPTS = 20
_WINDOWS_PAUSE = 0.05
# Some network file systems refuse to sync a folder; the content itself is safe by then. On a read-only disk
# there is nothing to sync.
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EROFS})
_BINARY = getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class FileSystem:
    """The calls of the operating system, one method each; a method raises `OSError` as the call does."""

    def status(self, path: Path) -> os.stat_result:
        """What is known of a file, a folder or a link itself."""
        return path.lstat()

    def resolve(self, path: Path) -> Path:
        """The same path without symbolic links; the last parts need not exist."""
        return Path(os.path.realpath(path))

    def read_link(self, path: Path) -> str:
        """The text of a symbolic link."""
        return os.readlink(path)  # noqa: PTH115  a Path would lose a final slash

    def list(self, path: Path) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(os.listdir(path))  # noqa: PTH208  names are wanted, not paths

    def open_read(self, path: Path) -> int:
        """A descriptor to read from; a symbolic link is refused."""
        return os.open(path, os.O_RDONLY | _BINARY | _NO_FOLLOW)

    def open_new(self, path: Path, mode: int) -> int:
        """A descriptor to write into a file that did not exist.

        Args:
            path: The file.
            mode: Its permission bits, less the umask.
        """
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NO_FOLLOW, mode)

    def open_append(self, path: Path) -> int:
        """A descriptor that writes at the end of an existing file."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | _BINARY | _NO_FOLLOW)

    def read(self, descriptor: int, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        return os.read(descriptor, size)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write, and say how many bytes were taken: perhaps fewer than given."""
        return os.write(descriptor, data)

    def seek(self, descriptor: int, position: int) -> int:
        """Move to a position, in bytes from the start."""
        return os.lseek(descriptor, position, os.SEEK_SET)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to a size in bytes."""
        os.ftruncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        """Wait until a file's content is on the disk."""
        if sys.platform == "darwin":
            import fcntl

            # fsync there stops at the drive's cache; not every file system can do more.
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
                return
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def link(self, existing: Path, new: Path) -> None:
        """Give a file a further name, which must be free."""
        os.link(existing, new)

    def symlink(self, text: str, new: Path) -> None:
        """Make a symbolic link, whose name must be free."""
        new.symlink_to(text)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file over another."""
        _patiently(lambda: source.replace(target), target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        _patiently(path.unlink, path)

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a folder that did not exist; its permission bits are `mode` less the umask."""
        path.mkdir(mode)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def chmod(self, path: Path, mode: int) -> None:
        """Set permission bits."""
        path.chmod(mode)

    def chown(self, path: Path, user: int, group: int) -> None:
        """Set the owner, where there are such things."""
        if sys.platform != "win32":
            os.chown(path, user, group)

    def utime(self, path: Path, modified: int) -> None:
        """Set the time of the last change, in nanoseconds since 1970."""
        os.utime(path, ns=(modified, modified))

    def sync_file(self, path: Path) -> None:
        """Wait until an existing file is on the disk, with its permissions and times."""
        if sys.platform == "win32":
            _sync_file_on_windows(path)
            return
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
        try:
            self.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a folder survive a power cut, where folders can be opened at all."""
        if sys.platform == "win32":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _UNSYNCABLE:
                raise
        finally:
            os.close(descriptor)


def _sync_file_on_windows(path: Path) -> None:
    """Sync a file even if it is marked read-only, which forbids opening it as that takes."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | stat.S_IWRITE)
    descriptor = os.open(path, os.O_RDWR | _BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.chmod(mode)


def _patiently(call: Callable[[], object], path: Path) -> None:
    """Do it, with patience on Windows, where a virus scanner may hold the file for a moment.

    A file that is marked read-only can be neither replaced nor removed there, until it is not.
    """
    if os.name != "nt":
        call()
        return
    for _ in range(_WINDOWS_ATTEMPTS - 1):
        with contextlib.suppress(PermissionError):
            call()
            return
        with contextlib.suppress(FileNotFoundError):
            path.chmod(stat.S_IREAD | stat.S_IWRITE)
        time.sleep(_WINDOWS_PAUSE)
    call()
