"""Reads a checkpoint folder: first whether it is what was written, then what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from resnet_bk.checkpoints.errors import Damage, FutureCheckpointError
from resnet_bk.checkpoints.layout import (
    CONFIG_FILE,
    METADATA_FILE,
    MODEL_FILE,
    STATE_FILE,
    FutureFormatError,
    Metadata,
    MetadataError,
)
from resnet_bk.checkpoints.staging import hash_file
from resnet_bk.checkpoints.tensor_files import read_metadata, read_tensors
from resnet_bk.checkpoints.training_state import TrainingState
from resnet_bk.checkpoints.trees import unflatten

__all__ = ["Checkpoint", "DamagedError", "open_checkpoint"]


class DamagedError(Exception):
    """A checkpoint is not what was written."""


@attrs.frozen(kw_only=True)
class Checkpoint:
    """An intact checkpoint; its parts are read when they are asked for.

    Attributes:
        path: Its folder.
        metadata: Who wrote it, when, and what the caller gave.
        training_state: Where training stood.
        passed_over: Newer checkpoints that are damaged and were not used, newest first.
    """

    path: Path
    metadata: Metadata
    training_state: TrainingState
    passed_over: tuple[Damage, ...] = ()

    @property
    def epoch(self) -> int:
        """Passes over the data that were finished."""
        return self.metadata.epoch

    @property
    def step(self) -> int:
        """Updates of the parameters so far."""
        return self.metadata.step

    @property
    def metric(self) -> float | None:
        """What the best checkpoint is chosen by; None if it was not measured."""
        return self.metadata.metric

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states beside the model, for example `optimizer`."""
        return tuple(self.metadata.states)

    def config(self) -> dict[str, Any] | None:
        """The configuration of the model, or None if it had none."""
        if CONFIG_FILE not in self.metadata.files:
            return None
        found: dict[str, Any] = json.loads((self.path / CONFIG_FILE).read_text("utf-8"))
        return found

    def model_state(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The tensors of the model, each once, and further name -> the name it shares its tensor with."""
        path = self.path / MODEL_FILE
        tensors = read_tensors(path)
        texts = read_metadata(path)
        return tensors, {
            name: kept for name, kept in texts.items() if kept in tensors and name not in tensors
        }

    def state(self, name: str) -> Any:
        """A state by its name, exactly as it was given.

        Raises:
            KeyError: The checkpoint has no such state.
        """
        if name not in self.metadata.states:
            raise KeyError(name)
        tree = json.loads((self.path / f"{name}.json").read_text("utf-8"))
        file = f"{name}.safetensors"
        tensors: Mapping[str, torch.Tensor] = (
            read_tensors(self.path / file) if file in self.metadata.files else {}
        )
        return unflatten(tree, tensors)

    def extra_file(self, name: str) -> bytes:
        """The content of a file that the caller put there."""
        return (self.path / name).read_bytes()


def open_checkpoint(folder: Path, *, verify: bool = True) -> Checkpoint:
    """A checkpoint, if it is what was written.

    Args:
        folder: Its folder.
        verify: Whether every file is read and its hash compared; without, the sizes must do.

    Raises:
        DamagedError: A file is missing, or is not what was written.
        FutureCheckpointError: A later program wrote it.
    """
    try:
        metadata = Metadata.read(folder / METADATA_FILE)
    except MetadataError as error:
        raise DamagedError(str(error)) from error
    except FutureFormatError as error:
        raise FutureCheckpointError(
            f"{folder.name} is of the checkpoint format {error.version}",
            version=error.version,
            path=folder,
            why="the newest known here is 1.0, and reading a later one by its rules could lose something",
            advice="Upgrade modelplug-resnet-bk, then try again.",
        ) from error
    for name, expected in metadata.files.items():
        _check_file(folder / name, expected.size, expected.sha256 if verify else None)
    try:
        tree = json.loads((folder / STATE_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{STATE_FILE} can't be read: {error}") from error
    return Checkpoint(
        path=folder, metadata=metadata, training_state=TrainingState.from_dict(unflatten(tree, {}))
    )


def _check_file(path: Path, size: int, sha256: str | None) -> None:
    try:
        actual = path.stat().st_size
        if actual != size:
            raise DamagedError(f"{path.name} has {actual} bytes instead of {size}")
        if sha256 is not None and hash_file(path).sha256 != sha256:
            raise DamagedError(f"{path.name} was changed since it was written (its SHA-256 is another)")
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except OSError as error:
        raise DamagedError(f"{path.name} can't be read: {error.strerror or error}") from error
