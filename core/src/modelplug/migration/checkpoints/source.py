"""What a family says of a checkpoint: its tensors, read piece by piece, and its plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["CheckpointFormat", "CheckpointSource", "MadeTensor", "TensorData"]


class TensorData(Protocol):
    """A tensor whose values are read when they are asked for, as often as they are asked for."""

    @property
    def dtype(self) -> str:
        """The type of its elements, as safetensors files name it, for example `F32`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""

    @property
    def size(self) -> int:
        """Bytes that its values take."""

    @property
    def place(self) -> tuple[Path, int] | None:
        """The file in which its values stand as `chunks` gives them, and where they begin, if one does."""

    def chunks(self) -> Iterator[bytes]:
        """Its values in order, little-endian and without gaps, a few megabytes at a time at most."""


@attrs.frozen
class MadeTensor:
    """A small tensor that a step has made.

    Attributes:
        dtype: The type of its elements, as safetensors files name it.
        shape: Its dimensions.
        data: Its values, little-endian.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that its values take."""
        return len(self.data)

    @property
    def place(self) -> None:
        """They stand in no file."""

    def chunks(self) -> Iterator[bytes]:
        """Its values, all at once."""
        yield self.data


@attrs.frozen(kw_only=True)
class CheckpointSource:
    """A checkpoint as it is read.

    Attributes:
        tensors: Every tensor there is, by a name that says where it stands.
        values: Every plain value, by a name that says where it stands.
        content: The same in the family's own terms, for its steps.
        files: The files that it consists of.
    """

    tensors: Mapping[str, TensorData]
    values: Mapping[str, Any] = attrs.field(factory=dict)
    content: Any = None
    files: tuple[Path, ...]


class CheckpointFormat(Protocol):
    """How a family's checkpoints are read, of every version, and compared with what is known of them."""

    def open(self, path: Path) -> CheckpointSource:
        """Read what a checkpoint consists of, but no values of tensors; nothing in it is executed.

        Args:
            path: A file or folder.

        Raises:
            ModelplugError: It can't be read as data.
        """

    def compare(self, result: Path, reference: Path) -> str:
        """Compute with a checkpoint of the current version, and compare the results with known ones.

        Args:
            result: The checkpoint.
            reference: Inputs and the outputs they should give.

        Returns:
            How near they are, one sentence.

        Raises:
            MigrationError: They differ, or the computation is not possible here.
        """
