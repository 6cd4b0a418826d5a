"""Opens the files that `torch.save` writes: zip archives, and the streams of versions before 1.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug.formats.source import ByteSource
from modelplug.formats.zip_directory import STORED, ZipMember, member_bytes, member_start, read_zip_directory
from modelplug_migrators.resnet_bk.checkpoints.reading.machine import PickleError, PickleMachine
from modelplug_migrators.resnet_bk.checkpoints.reading.records import Global, Storage, Tensor
from modelplug_migrators.resnet_bk.checkpoints.reading.stored import (
    STORAGE_TYPES,
    StoredTensor,
    stored_tensor,
    width_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ZSTANDARD", "Archive", "is_torch_file", "open_archive"]

ZIP: Final = b"PK\x03\x04"
PICKLE: Final = b"\x80"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_MOST_PICKLED: Final = 256 << 20


@attrs.frozen(kw_only=True)
class Archive:
    """What one file holds.

    Attributes:
        path: The file.
        root: The object that was saved.
        calls: Functions that loading it would call, and that are not known to be harmless.
        classes: Classes that loading it would import, and that are not known here.
    """

    path: Path
    root: Any
    calls: tuple[str, ...]
    classes: tuple[str, ...]
    _locate: Callable[[Storage], tuple[int, int]] = attrs.field(repr=False)

    def tensor(self, record: Tensor) -> StoredTensor:
        """The tensor that a record in the root describes.

        Args:
            record: The record.

        Raises:
            ValueError: It is of an unknown type, or not all of it is in the file.
        """
        return stored_tensor(self.path, record, *self._locate(record.storage))


def is_torch_file(head: bytes) -> bool:
    """Whether a file may be one that `torch.save` wrote, by its first bytes."""
    return head.startswith((ZIP, PICKLE))


def open_archive(path: Path) -> Archive:
    """Read what was saved, but not the values of tensors.

    Args:
        path: The file.

    Raises:
        TruncatedModelError: It is cut off.
        ModelFileError: It is damaged, or was not written by `torch.save`.
    """
    with ByteSource(path) as source:
        head = source.read_at(0, 4)
        try:
            return _open_zip(source) if head.startswith(ZIP) else _open_stream(source)
        except PickleError as error:
            raise _damaged(path, str(error)) from error


# Zip archives ---------------------------------------------------------------------------------------------


def _open_zip(source: ByteSource) -> Archive:
    path = source.path
    members = read_zip_directory(source)
    if members is None:
        raise TruncatedModelError(
            f"{path.name} ends early: the directory at the end of the archive is missing",
            path=path,
            offset=source.size,
            actual=source.size,
            why="the file is cut off, as an interrupted download or a full disk leaves it",
            advice="Copy the file again, or take an earlier checkpoint.",
        )
    named = {member.name: member for member in members}
    pickle = next((name for name in named if name == "data.pkl" or name.endswith("/data.pkl")), None)
    if pickle is None:
        raise _damaged(path, "it is a zip archive without data.pkl, which torch.save always writes")
    prefix = pickle[: -len("data.pkl")]
    order = named.get(f"{prefix}byteorder")
    if order is not None and member_bytes(source, order, 16) not in (b"little", None):
        raise _damaged(path, "its numbers are big-endian, as nothing here is")
    data = member_bytes(source, named[pickle], _MOST_PICKLED)
    if data is None:
        raise _damaged(path, f"{pickle} is larger than that of any checkpoint, or encrypted")
    machine = PickleMachine(_storage_of)
    root = machine.load(data)

    def locate(storage: Storage) -> tuple[int, int]:
        member = named.get(f"{prefix}data/{storage.key}")
        return _member_place(path, member)

    return Archive(
        path=path, root=root, calls=tuple(machine.calls), classes=tuple(machine.classes), locate=locate
    )


def _member_place(path: Path, member: ZipMember | None) -> tuple[int, int]:
    if member is None:
        raise ValueError("its values are not in the file")
    if member.method != STORED or member.encrypted:
        raise ValueError("its values are compressed, which torch never does")
    with ByteSource(path) as source:
        return member_start(source, member), member.size


def _storage_of(identity: Any) -> Storage:
    """The record for the way in which a pickle names the memory of a tensor."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise PickleError("it refers to something outside the file")
    _, kind, key, _, elements, *view = identity
    if not isinstance(kind, Global) or not isinstance(key, (str, int)) or type(elements) is not int:
        raise PickleError("it names the memory of a tensor in an unknown way")
    name = kind.name.rpartition(".")[2]
    offset = 0
    if view and isinstance(view[0], tuple):
        offset = int(view[0][1])
    return Storage(name, str(key), elements, offset)


# Streams --------------------------------------------------------------------------------------------------


def _open_stream(source: ByteSource) -> Archive:
    """Five pickles one after the other (the fourth is the object), then the memory of every tensor."""
    path = source.path
    storages: dict[str, Storage] = {}

    def storage_of(identity: Any) -> Storage:
        storage = _storage_of(identity)
        return storages.setdefault(storage.key, storage) if not storage.offset else storage

    machine = PickleMachine(storage_of)
    with path.open("rb") as stream:
        if machine.load(stream) != _MAGIC:
            raise _damaged(path, "it is a pickle, but none that torch.save wrote")
        machine.load(stream)
        system = machine.load(stream)
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise _damaged(path, "its numbers are big-endian, as nothing here is")
        root = machine.load(stream)
        keys = machine.load(stream)
        position = stream.tell()
    places = _stream_places(source, position, keys, storages)

    def locate(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            raise ValueError("its values are not in the file")
        return places[storage.key]

    return Archive(
        path=path, root=root, calls=tuple(machine.calls), classes=tuple(machine.classes), locate=locate
    )


def _stream_places(
    source: ByteSource, position: int, keys: Any, storages: dict[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Where the memory of every key begins, and its bytes: a count of elements comes before each."""
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(str(key))
        if storage is None or storage.kind not in STORAGE_TYPES:
            # Without the width of its elements, what follows it can't be found.
            raise _damaged(source.path, f"the memory {key!r} is of an unknown type")
        elements = int.from_bytes(source.read_at(position, 8), "little")
        size = elements * width_of(STORAGE_TYPES[storage.kind])
        if position + 8 + size > source.size:
            raise TruncatedModelError(
                f"{source.path.name} ends early",
                path=source.path,
                offset=position,
                expected=position + 8 + size,
                actual=source.size,
                why="the file is cut off, as an interrupted download or a full disk leaves it",
                advice="Copy the file again, or take an earlier checkpoint.",
            )
        places[str(key)] = (position + 8, size)
        position += 8 + size
    return places


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} can't be read as a checkpoint",
        path=path,
        offset=0,
        why=why,
        advice="Copy the file again, or take an earlier checkpoint.",
    )
