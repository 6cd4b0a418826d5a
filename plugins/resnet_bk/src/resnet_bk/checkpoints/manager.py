"""Keeps the checkpoints of one run in a folder: saves them, finds them, loads them, removes old ones."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import filelock
import torch

from resnet_bk.checkpoints.errors import (
    CheckpointDamagedError,
    CheckpointNotFoundError,
    CheckpointNotSavedError,
    Damage,
    FutureCheckpointError,
)
from resnet_bk.checkpoints.layout import METADATA_FILE, MODEL_FILE, checkpoint_folders, folder_name
from resnet_bk.checkpoints.loading import load_into
from resnet_bk.checkpoints.old_forms import old_checkpoint_in, refuse_file
from resnet_bk.checkpoints.reading import Checkpoint, DamagedError, open_checkpoint
from resnet_bk.checkpoints.rng import capture_rng
from resnet_bk.checkpoints.saving import (
    add_extra_file,
    write_metadata,
    write_model,
    write_state,
    write_training_state,
)
from resnet_bk.checkpoints.staging import Staging, remove_folder, remove_leftovers
from resnet_bk.checkpoints.training_state import TrainingState

__all__ = ["CheckpointManager"]

_LOCK = ".lock"


class CheckpointManager:
    """The checkpoints of one run, in one folder.

    A checkpoint appears under its name when all of it is on the disk and was read back; a process that is
    killed, or a full disk, at any moment costs nothing that was saved before. What such a process left
    half-done is removed when the next manager of the folder is made, or saves.

    Args:
        directory: The folder; it need not exist.
        keep: How many of the newest checkpoints are kept; the best one is kept besides.
        higher_is_better: Whether the best checkpoint is the one with the highest metric.
    """

    def __init__(self, directory: str | Path, *, keep: int = 5, higher_is_better: bool = False) -> None:
        if keep < 1:
            reason = "at least one checkpoint has to be kept"
            raise ValueError(reason)
        self.directory = Path(directory).expanduser()
        self.keep = keep
        self.higher_is_better = higher_is_better
        self._clean()

    def save_checkpoint(
        self,
        *,
        model: torch.nn.Module | Mapping[str, Any],
        optimizer: Any = None,
        scheduler: Any = None,
        epoch: int = 0,
        step: int = 0,
        metadata: Mapping[str, Any] | None = None,
        scaler: Any = None,
        training_state: TrainingState | Mapping[str, Any] | None = None,
        metric: float | None = None,
        config: Mapping[str, Any] | None = None,
        states: Mapping[str, Any] | None = None,
        extra_files: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Save a checkpoint, then remove those that are no longer kept.

        Args:
            model: The model, or its state dict.
            optimizer: The optimizer, or its state dict.
            scheduler: The learning rate scheduler, or its state dict.
            epoch: Passes over the data that were finished.
            step: Updates of the parameters so far.
            metadata: Anything JSON can hold; `version` is the version of the model family.
            scaler: The gradient scaler of mixed precision, or its state dict.
            training_state: What else is known of the run; without states of the random number generators,
                those of this process are added.
            metric: What the best checkpoint is chosen by, for example the validation perplexity.
            config: The model's configuration, where the model does not know it itself.
            states: Further states by name: objects with `state_dict`, or nested data and tensors.
            extra_files: Further files by name.

        Returns:
            The folder of the checkpoint.

        Raises:
            StateNotSavableError: Something that was given is no data.
            CheckpointNotSavedError: It can't be written; everything saved before is as it was.
        """
        state = _state_of(training_state, epoch, step)
        given = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, **(states or {})}
        given = {name: value for name, value in given.items() if value is not None}
        with self._exclusively() as sequence:
            staging = Staging(self.directory)
            try:
                write_model(staging, model, config)
                for name, value in given.items():
                    write_state(staging, name, value)
                write_training_state(staging, state.to_dict())
                for name, content in (extra_files or {}).items():
                    add_extra_file(staging, name, content)
                write_metadata(
                    staging,
                    metadata or {},
                    sequence=sequence,
                    epoch=epoch,
                    step=step,
                    metric=None if metric is None else float(metric),
                    states=sorted(given),
                )
                staging.verify()
                path = staging.publish(folder_name(sequence, epoch, step))
            except BaseException:
                # Also for KeyboardInterrupt: the folder is ours alone.
                staging.discard()
                raise
            self._prune()
        return path

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint whose files have the right sizes, newest first; hashes are not compared."""
        found = []
        for _, folder in checkpoint_folders(self.directory):
            with contextlib.suppress(DamagedError, FutureCheckpointError):
                found.append(open_checkpoint(folder, verify=False))
        return found

    def latest(self) -> Path | None:
        """The newest checkpoint whose files have the right sizes, or None."""
        return next((checkpoint.path for checkpoint in self.checkpoints()), None)

    def best(self) -> Path | None:
        """The checkpoint with the best metric, the newest of equals; None if no metric was ever given."""
        best = self._best(self.checkpoints())
        return None if best is None else best.path

    def load(
        self,
        path: str | Path | None = None,
        *,
        model: torch.nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        scaler: Any = None,
        with_rng: bool = False,
    ) -> Checkpoint:
        """Load a checkpoint into what is given: all of it, or nothing if something does not fit.

        Args:
            path: The folder of a checkpoint; None takes the newest that is intact.
            model: What takes the weights.
            optimizer: What takes the optimizer's state.
            scheduler: What takes the scheduler's state.
            scaler: What takes the gradient scaler's state.
            with_rng: Whether the random number generators of this process are set, too.

        Returns:
            The checkpoint; `passed_over` names newer ones that are damaged.

        Raises:
            CheckpointNotFoundError: There is none.
            CheckpointDamagedError: The one that was named, or every one there is, is damaged.
            CheckpointMismatchError: It is of another architecture.
            OldCheckpointError: It is of an earlier form, and has to be migrated.
            FutureCheckpointError: A later program wrote it.
        """
        checkpoint = self._newest_intact() if path is None else self._named(Path(path))
        load_into(
            checkpoint,
            model=model,
            states={"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler},
            with_rng=with_rng,
        )
        return checkpoint

    # Finding ------------------------------------------------------------------------------------------

    def _newest_intact(self) -> Checkpoint:
        damage: list[Damage] = []
        for _, folder in checkpoint_folders(self.directory):
            try:
                checkpoint = open_checkpoint(folder)
            except DamagedError as error:
                # One that was removed meanwhile, by the process that saves here, is not damaged.
                if folder.exists():
                    damage.append(Damage(folder, str(error)))
                continue
            return attrs.evolve(checkpoint, passed_over=tuple(damage))
        if damage:
            raise CheckpointDamagedError(
                f"none of the {len(damage)} checkpoints in {self.directory} is intact",
                path=self.directory,
                damage=damage,
                advice="Restore one from a backup, or start again in another folder.",
            )
        old = old_checkpoint_in(self.directory)
        raise old or CheckpointNotFoundError(
            f"there is no checkpoint in {self.directory}",
            path=self.directory,
            advice="Check the folder's name; `save_checkpoint` makes checkpoints.",
        )

    def _named(self, path: Path) -> Checkpoint:
        path = path.expanduser()
        if not path.is_absolute() and not path.exists() and (self.directory / path).exists():
            path = self.directory / path
        if not path.is_dir():
            raise refuse_file(path)
        if not (path / METADATA_FILE).exists() and not (path / MODEL_FILE).exists():
            raise old_checkpoint_in(path) or refuse_file(path)
        try:
            return open_checkpoint(path)
        except DamagedError as error:
            raise CheckpointDamagedError(
                f"the checkpoint {path.name} is damaged",
                path=path,
                damage=[Damage(path, str(error))],
                advice="Leave the path out to take the newest checkpoint that is intact.",
            ) from error

    def _best(self, checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
        measured = [item for item in checkpoints if item.metric is not None]
        sign = 1 if self.higher_is_better else -1
        return max(
            measured, key=lambda item: (sign * (item.metric or 0.0), item.metadata.sequence), default=None
        )

    # Keeping order ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[int]:
        """Hold the folder's lock, and turn what the system refuses into an error of ours."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.directory / _LOCK):
                remove_leftovers(self.directory)
                yield max((sequence for sequence, _ in checkpoint_folders(self.directory)), default=0) + 1
        except OSError as error:
            raise CheckpointNotSavedError(
                "the checkpoint was not saved",
                path=self.directory,
                why=f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else ""),
                advice="Free some space or choose another folder; earlier checkpoints are intact.",
            ) from error

    def _prune(self) -> None:
        intact = self.checkpoints()
        kept = {checkpoint.path for checkpoint in intact[: self.keep]}
        best = self._best(intact)
        for checkpoint in intact[self.keep :]:
            if checkpoint.path not in kept and (best is None or checkpoint.path != best.path):
                # The new one is safe by now; what can't be removed is tried again after the next.
                with contextlib.suppress(OSError):
                    remove_folder(checkpoint.path)

    def _clean(self) -> None:
        """Remove what was left half-done, unless somebody is saving here at this moment."""
        if not self.directory.is_dir() or not os.access(self.directory, os.W_OK):
            return
        with (
            contextlib.suppress(filelock.Timeout, OSError),
            filelock.FileLock(self.directory / _LOCK, timeout=0),
        ):
            remove_leftovers(self.directory)


def _state_of(given: TrainingState | Mapping[str, Any] | None, epoch: int, step: int) -> TrainingState:
    if isinstance(given, TrainingState):
        state = attrs.evolve(given, epoch=epoch, step=step)
    else:
        state = TrainingState.from_dict({**(given or {}), "epoch": epoch, "step": step})
    return state if state.rng else attrs.evolve(state, rng=[capture_rng()])
