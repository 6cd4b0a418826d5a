"""What can go wrong with a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CheckpointDamagedError",
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "CheckpointNotSavedError",
    "Damage",
    "FutureCheckpointError",
    "OldCheckpointError",
    "StateNotSavableError",
]


@attrs.frozen
class Damage:
    """One checkpoint that can't be used.

    Attributes:
        path: Its folder.
        reason: What is wrong with it.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


class CheckpointError(ModelplugError):
    """A checkpoint can't be written, found or read.

    Attributes:
        path: The folder or file.
    """

    def __init__(self, what: str, *, path: Path, why: str = "", advice: str = "", **data: object) -> None:
        self.path = path
        super().__init__(what, why=why, advice=advice, path=path, **data)


class CheckpointNotFoundError(CheckpointError):
    """There is no checkpoint there."""


class CheckpointNotSavedError(CheckpointError):
    """A checkpoint could not be written; those that were there before are untouched."""


class StateNotSavableError(CheckpointError):
    """A state holds something that can't be written as data.

    Attributes:
        place: Where in the state, for example `param_groups.0.lr`.
    """

    def __init__(self, what: str, *, place: str, **rest: Any) -> None:
        self.place = place
        super().__init__(what, place=place, **rest)


class CheckpointDamagedError(CheckpointError):
    """Checkpoints are there, and none that was asked for is intact.

    Attributes:
        damage: Every damaged checkpoint, newest first.
    """

    def __init__(self, what: str, *, damage: Iterable[Damage], **rest: Any) -> None:
        self.damage = tuple(damage)
        rest.setdefault("why", "; ".join(map(str, self.damage)))
        super().__init__(what, damage=[str(item) for item in self.damage], **rest)


class OldCheckpointError(CheckpointError):
    """The file is a checkpoint of an earlier form, which has to be migrated before it can be read."""


class FutureCheckpointError(CheckpointError):
    """The checkpoint was written by a later program than this one knows.

    Attributes:
        version: Its format version.
    """

    def __init__(self, what: str, *, version: str, **rest: Any) -> None:
        self.version = version
        super().__init__(what, version=version, **rest)


class CheckpointMismatchError(CheckpointError):
    """The checkpoint belongs to another architecture than what it is to be loaded into.

    Attributes:
        missing: Names the model has and the checkpoint lacks.
        unexpected: Names the checkpoint has and the model lacks.
        misshapen: Name -> the shape the model has, and the one in the checkpoint.
    """

    def __init__(
        self,
        what: str,
        *,
        missing: Iterable[str] = (),
        unexpected: Iterable[str] = (),
        misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
        **rest: Any,
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = dict(misshapen or {})
        super().__init__(
            what, missing=self.missing, unexpected=self.unexpected, misshapen=self.misshapen, **rest
        )
