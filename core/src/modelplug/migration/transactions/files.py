"""Whole-file work on top of the single calls of `FileSystem`: read, hash, write, copy, many at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

import attrs

from modelplug.migration.transactions.filesystem import FileSystem

__all__ = [
    "NO_LINKS",
    "PRIVATE_FILE",
    "PRIVATE_FOLDER",
    "FileState",
    "Files",
    "NotAFileError",
    "digest_of",
    "sha256",
]

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_CHUNK = 1 << 20
# Waiting for the disk is what takes time, and the disk answers many at once. A few are not worth threads.
_THREADS = 8
_WORTH_THREADS = 16
# What file systems say that know no second name for a file. Any other failure may come after the fact.
NO_LINKS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})


class NotAFileError(OSError):
    """There is something of that name, but it is no regular file."""


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@attrs.frozen(kw_only=True)
class FileState:
    """A regular file as it is, was or shall be.

    Attributes:
        sha256: The SHA-256 of its content, in hexadecimal.
        size: Its size in bytes.
        mode: Its permission bits; None leaves them to the umask.
        mtime_ns: The time of its last change, in nanoseconds since 1970; None is the time of writing.
        owner: Its user and group; None is whoever writes.
        links: How many names it has.
    """

    sha256: str
    size: int
    mode: int | None = None
    mtime_ns: int | None = None
    owner: tuple[int, int] | None = None
    links: int = 1


def digest_of(state: FileState | None) -> str | None:
    """The SHA-256 of a file; None if there is none.

    Args:
        state: Its state.
    """
    return state.sha256 if state is not None else None


class Files:
    """Reads and writes whole files.

    Args:
        filesystem: The calls to do it with.
    """

    def __init__(self, filesystem: FileSystem) -> None:
        self.calls = filesystem

    # Looking ------------------------------------------------------------------------------------------

    def status(self, path: Path) -> os.stat_result | None:
        """What is known of a file, folder or link itself; None if there is none."""
        try:
            return self.calls.status(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def state(self, path: Path) -> FileState | None:
        """The state of a regular file, its content hashed; None if there is nothing of that name.

        Raises:
            NotAFileError: It is no regular file.
            OSError: It can't be read.
        """
        status = self.status(path)
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise NotAFileError(errno.EINVAL, "not a regular file", str(path))
        digest, size = self.digest(path)
        return state_of(status, digest, size)

    def digest(self, path: Path) -> tuple[str, int]:
        """The SHA-256 and the size of a file's content."""
        found = hashlib.sha256()
        size = 0
        for chunk in self.chunks(path):
            found.update(chunk)
            size += len(chunk)
        return found.hexdigest(), size

    def read(self, path: Path) -> bytes:
        """The whole content of a file."""
        return b"".join(self.chunks(path))

    def tail(self, path: Path, size: int) -> bytes:
        """The last bytes of a file, up to `size` of them."""
        start = max(0, self.calls.status(path).st_size - size)
        return b"".join(self.chunks(path, start))

    def chunks(self, path: Path, start: int = 0) -> Generator[bytes, None, None]:
        """The content of a file, a part at a time.

        Args:
            path: The file.
            start: Where to begin, in bytes.
        """
        descriptor = self.calls.open_read(path)
        try:
            if start:
                self.calls.seek(descriptor, start)
            while chunk := self.calls.read(descriptor, _CHUNK):
                yield chunk
        finally:
            self.calls.close(descriptor)

    # Writing ------------------------------------------------------------------------------------------

    def write_all(self, descriptor: int, data: bytes) -> None:
        """Write every byte, however many calls that takes.

        Raises:
            OSError: The disk takes no more.
        """
        rest = memoryview(data)
        while rest:
            written = self.calls.write(descriptor, rest)
            if written <= 0:
                raise OSError(errno.ENOSPC, "the disk takes no more bytes")
            rest = rest[written:]

    def write_new(self, path: Path, content: Iterable[bytes], like: FileState) -> tuple[str, int]:
        """Write a file that did not exist; it is not synced yet.

        Args:
            path: The file.
            content: What to write.
            like: Its permissions, owner and time.

        Returns:
            The SHA-256 and the size of what was written.

        Raises:
            OSError: It can't be written, and is left as far as it got.
        """
        digest = hashlib.sha256()
        size = 0
        descriptor = self.calls.open_new(path, 0o666 if like.mode is None else PRIVATE_FILE)
        try:
            for chunk in content:
                self.write_all(descriptor, chunk)
                digest.update(chunk)
                size += len(chunk)
        finally:
            self.calls.close(descriptor)
        self.dress(path, like)
        return digest.hexdigest(), size

    def copy_new(self, source: Path, target: Path, like: FileState) -> tuple[str, int]:
        """Copy a file to a name that was free; it is not synced yet.

        Args:
            source: The file.
            target: The copy.
            like: The copy's permissions, owner and time.

        Returns:
            The SHA-256 and the size of what was copied.

        Raises:
            OSError: It can't be read or written; the copy is left as far as it got.
        """
        with contextlib.closing(self.chunks(source)) as chunks:
            return self.write_new(target, chunks, like)

    def dress(self, path: Path, like: FileState) -> None:
        """Give a file its owner, permissions and time, as far as they are said."""
        if like.owner is not None:
            # Only root may give a file away, and the group only to one of its own: as far as it goes.
            with contextlib.suppress(PermissionError):
                self.calls.chown(path, *like.owner)
        if like.mode is not None:
            self.calls.chmod(path, like.mode)
        if like.mtime_ns is not None:
            self.calls.utime(path, like.mtime_ns)

    def move_to_free_name(self, source: Path, target: Path) -> None:
        """Rename a file, never over another one.

        Raises:
            FileExistsError: The name is taken.
        """
        try:
            self.calls.link(source, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if self.status(target) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
            self.calls.replace(source, target)
        else:
            self.calls.unlink(source)

    def remove(self, path: Path) -> bool:
        """Remove a file if it is there; says whether it was."""
        # On a read-only disk, removing what is not there is an error too.
        if self.status(path) is None:
            return False
        self.calls.unlink(path)
        return True

    def remove_empty(self, folder: Path) -> None:
        """Remove a folder if it is there and empty."""
        if self.status(folder) is None:
            return
        try:
            self.calls.rmdir(folder)
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise

    def remove_tree(self, folder: Path) -> None:
        """Remove a folder of our own with all it holds; links in it are not followed."""
        for name in self.calls.list(folder):
            path = folder / name
            if stat.S_ISDIR(self.calls.status(path).st_mode):
                self.remove_tree(path)
            else:
                self.calls.unlink(path)
        self.calls.rmdir(folder)

    def make_folders(self, folder: Path, mode: int) -> list[Path]:
        """Make a folder and those above it that are missing.

        Args:
            folder: The folder.
            mode: Permission bits of those that are made.

        Returns:
            The folders that were made, the uppermost first.
        """
        missing = []
        while self.status(folder) is None:
            missing.append(folder)
            folder = folder.parent
        missing.reverse()
        for path in missing:
            # Another process may have been faster.
            with contextlib.suppress(FileExistsError):
                self.calls.mkdir(path, mode)
        return missing

    # Waiting for the disk -----------------------------------------------------------------------------

    def sync_files(self, paths: Sequence[Path]) -> None:
        """Wait until existing files are on the disk.

        Args:
            paths: The files, all of them written before: the disk takes many at once much faster.
        """
        _each(self.calls.sync_file, paths)

    def sync_folders(self, paths: Iterable[Path]) -> None:
        """Wait until the names in some folders are on the disk.

        Args:
            paths: The folders.
        """
        _each(self.calls.sync_directory, sorted(paths))


def _each(work: Callable[[Path], None], paths: Sequence[Path]) -> None:
    if len(paths) < _WORTH_THREADS:
        for path in paths:
            work(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as executor:
        shares = [paths[number::_THREADS] for number in range(_THREADS)]
        for future in [executor.submit(_work_on, work, share) for share in shares]:
            future.result()


def _work_on(work: Callable[[Path], None], paths: Sequence[Path]) -> None:
    for path in paths:
        work(path)


def state_of(status: os.stat_result, digest: str, size: int) -> FileState:
    """The state of a file of which the status and the content are known."""
    return FileState(
        sha256=digest,
        size=size,
        mode=stat.S_IMODE(status.st_mode),
        mtime_ns=status.st_mtime_ns,
        owner=(status.st_uid, status.st_gid),
        links=status.st_nlink,
    )
