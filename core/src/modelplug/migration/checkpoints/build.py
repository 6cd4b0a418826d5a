"""What a migration writes that is too large for memory: the description, carried out later by `building`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from modelplug.migration.checkpoints.ledger import TensorFate
    from modelplug.migration.checkpoints.source import TensorData

__all__ = ["Build", "FileReceipt", "NewFile", "Receipt", "Sink"]


class Sink(Protocol):
    """Takes the bytes of a new file, in order."""

    def write(self, data: bytes) -> None:
        """Write bytes that belong to no tensor."""

    def tensor(self, name: str, tensor: TensorData, watch: Callable[[bytes], None] | None = None) -> None:
        """Write a tensor's values.

        Args:
            name: The tensor's name in the result.
            tensor: The tensor.
            watch: Is given every chunk besides.
        """


@attrs.frozen(kw_only=True)
class NewFile:
    """A file to write.

    Attributes:
        name: Its name in the new folder.
        size: Its bytes, as far as known before.
        write: Writes it.
    """

    name: str
    size: int
    write: Callable[[Sink], None] = attrs.field(repr=False)


@attrs.frozen
class FileReceipt:
    """What was written.

    Attributes:
        size: Bytes.
        sha256: SHA-256, in hexadecimal.
    """

    size: int
    sha256: str


@attrs.frozen(kw_only=True)
class Receipt:
    """What was read and written, in hashes.

    Attributes:
        sources: File of the source -> what it is.
        files: Name of a new file -> what it is.
        before: Name of a tensor in the source -> the SHA-256 of its values; empty unless it was asked for.
        after: Name of a tensor in the result -> the SHA-256 of its values; empty unless it was asked for.
    """

    sources: Mapping[Path, FileReceipt]
    files: Mapping[str, FileReceipt]
    before: Mapping[str, str]
    after: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Build:
    """A folder or file to write, and what it takes the place of.

    Attributes:
        path: The folder; or the file, if `is_file`.
        is_file: Whether the result is one file, the only one of `files`.
        replaces: What is put away once the result is in place.
        files: The files with tensors, and others known before, in the order in which they are written.
        seal: Gives the last files, which say what all others are.
    """

    path: Path
    is_file: bool = False
    replaces: tuple[Path, ...] = ()
    files: tuple[NewFile, ...]
    seal: Callable[[Receipt, Sequence[TensorFate]], Mapping[str, bytes]] | None = attrs.field(
        default=None, repr=False
    )

    @property
    def size(self) -> int:
        """Bytes that it takes, the last files not counted."""
        return sum(file.size for file in self.files)


@attrs.frozen(kw_only=True)
class SourceState:
    """By what a file is known to be the one that was planned for, without reading all of it.

    Attributes:
        path: The file.
        size: Bytes.
        mtime_ns: When it was changed last, in nanoseconds since 1970.
        fingerprint: Of samples of its content.
    """

    path: Path
    size: int
    mtime_ns: int
    fingerprint: str


@attrs.frozen(kw_only=True)
class BuildPlan:
    """A build as a plan shows and saves it.

    Attributes:
        path: The folder or file that is made.
        is_file: Whether it is a file.
        replaces: What is put away.
        files: Name of a new file -> its bytes.
        sources: The files it is made from.
    """

    path: Path
    is_file: bool
    replaces: tuple[Path, ...]
    files: dict[str, int]
    sources: tuple[SourceState, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "path": str(self.path),
            "is_file": self.is_file,
            "replaces": [str(path) for path in self.replaces],
            "files": dict(self.files),
            "sources": [{**attrs.asdict(source), "path": str(source.path)} for source in self.sources],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BuildPlan:
        """The record that `to_dict` wrote.

        Raises:
            KeyError: Something is missing.
        """
        from pathlib import Path

        return cls(
            path=Path(data["path"]),
            is_file=data["is_file"],
            replaces=tuple(Path(path) for path in data["replaces"]),
            files=dict(data["files"]),
            sources=tuple(
                SourceState(**{**source, "path": Path(source["path"])}) for source in data["sources"]
            ),
        )
