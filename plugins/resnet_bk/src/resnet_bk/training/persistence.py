"""Saves and restores everything that a run consists of, so that it goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch

from resnet_bk.checkpoints import Checkpoint, CheckpointManager, TrainingState, capture_rng, restore_rng
from resnet_bk.checkpoints.errors import CheckpointError, CheckpointNotFoundError
from resnet_bk.checkpoints.loading import check_optimizer
from resnet_bk.checkpoints.weights import Skeleton, config_of, fit, unwrap
from resnet_bk.training.errors import RunMismatchError, TrainingError
from resnet_bk.training.evaluation import EarlyStopping
from resnet_bk.training.processes import Processes
from resnet_bk.training.recovery import RecoveryState
from resnet_bk.training.reporting import Reporter
from resnet_bk.training.schedule import Schedule
from resnet_bk.training.update import Updater

__all__ = ["Identity", "Keeper"]

_TRAINER = "trainer"


@attrs.frozen(kw_only=True)
class Identity:
    """What has to be the same for a run to go on where it was.

    Attributes:
        data: A fingerprint of the tokens.
        sequence_length: Tokens in a sequence.
        batch_size: Sequences per update.
        seed: Of the order of the data.
    """

    data: str
    sequence_length: int
    batch_size: int
    seed: int


class Keeper:
    """Keeps the checkpoints of a run; every method is called by all processes together.

    Args:
        manager: Where they are kept.
        processes: Those that train together.
        updater: The model, its optimizer, and what watches them.
        schedule: The learning rates.
        stopping: What has been seen of evaluations.
        reporter: What has been collected for the next report.
        identity: What the run is.
        config: The configuration of the model, before its parameters were distributed.
        skeleton: What its state dict looks like.
        extra_files: Further files for every checkpoint, such as the tokenizer.
        metadata: Further data for every checkpoint.
    """

    def __init__(
        self,
        manager: CheckpointManager,
        *,
        processes: Processes,
        updater: Updater,
        schedule: Schedule,
        stopping: EarlyStopping,
        reporter: Reporter,
        identity: Identity,
        config: dict[str, Any] | None,
        skeleton: Skeleton,
        extra_files: dict[str, bytes],
        metadata: dict[str, Any],
    ) -> None:
        self.manager = manager
        self.processes = processes
        self.updater = updater
        self.schedule = schedule
        self.stopping = stopping
        self.reporter = reporter
        self.identity = identity
        self.config = config
        self.skeleton = skeleton
        self.extra_files = extra_files
        self.metadata = metadata
        self.model = unwrap(updater.model)

    # Saving -------------------------------------------------------------------------------------------

    def save(
        self,
        state: TrainingState,
        recovery: RecoveryState,
        *,
        metric: float | None = None,
    ) -> Path:
        """Save a checkpoint.

        Args:
            state: Where training stands; the states of the random number generators are added.
            recovery: What was changed because of failures.
            metric: The validation loss, if it was measured at this step.

        Raises:
            CheckpointError: It can't be saved.
        """
        model = self.processes.model_state(self.model)
        optimizer = self.processes.optimizer_state(self.model, self.updater.optimizer)
        rng = self.processes.gather(capture_rng())

        def write() -> Path:
            return self.manager.save_checkpoint(
                model=model,
                optimizer=optimizer,
                scheduler=self.schedule,
                scaler=self.updater.scaler,
                epoch=state.epoch,
                step=state.step,
                training_state=attrs.evolve(
                    state,
                    rng=rng,
                    gradient_norms=list(self.updater.gradients.norms),
                    nan_count=recovery.nan_count,
                    oom_count=recovery.oom_count,
                ),
                metric=metric,
                config=self._config_now(),
                states={_TRAINER: self._trainer_state(recovery)},
                extra_files=self.extra_files,
                metadata=self.metadata,
            )

        path: Path = self._by_main(write)
        return path

    def _config_now(self) -> dict[str, Any] | None:
        """The configuration with what recovery has changed, the epsilon."""
        now = config_of(self.model)
        if now is None or self.config is None:
            return self.config
        # Distributing parameters gives a model a class of another name.
        return {**now, **{name: self.config[name] for name in ("architectures",) if name in self.config}}

    def _trainer_state(self, recovery: RecoveryState) -> dict[str, Any]:
        return {
            "identity": attrs.asdict(self.identity),
            "recovery": recovery.to_dict(),
            "gradients": self.updater.gradients.state_dict(),
            "losses": self.updater.losses.state_dict(),
            "stopping": self.stopping.state_dict(),
            "since": self.reporter.state_dict(),
            "precision": self.updater.precision.name,
        }

    # Loading ------------------------------------------------------------------------------------------

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is intact, or None if none was ever saved.

        Raises:
            CheckpointError: There are some, and none is intact or can be read here.
        """

        def find() -> Checkpoint | None:
            try:
                return self.manager.load()
            except CheckpointNotFoundError:
                return None

        found: Checkpoint | None = self._by_main(find)
        return found

    def good_before(self, onset: int, tried: int | None) -> Checkpoint | None:
        """The newest intact checkpoint from before a failure, or the oldest if all of those were tried.

        Args:
            onset: The last step at which all was well.
            tried: The step of the one that was gone back to the last time and did not help; None for none.
        """

        def find() -> Checkpoint | None:
            # The order is that of saving, so the first of each step is the newest of it.
            by_step: dict[int, Path] = {}
            for checkpoint in self.manager.checkpoints():
                if checkpoint.step <= onset:
                    by_step.setdefault(checkpoint.step, checkpoint.path)
            fresh = sorted((step for step in by_step if tried is None or step < tried), reverse=True)
            for step in [*fresh, *sorted(by_step.keys() - set(fresh))]:
                try:
                    return self.manager.load(by_step[step])
                except CheckpointError:  # noqa: PERF203  a damaged one is passed over
                    continue
            return None

        found: Checkpoint | None = self._by_main(find)
        return found

    def restore(self, checkpoint: Checkpoint) -> RecoveryState:
        """Bring model, optimizer and all that belongs to them to the state of a checkpoint.

        Args:
            checkpoint: One that `newest` or `good_before` gave.

        Returns:
            What had been changed because of failures by then.

        Raises:
            RunMismatchError: It is of another run.
            CheckpointMismatchError: It is of another architecture.
        """
        if not checkpoint.path.is_dir():
            raise TrainingError(
                f"process {self.processes.rank} does not see {checkpoint.path}",
                why="every process reads the checkpoint, and the first has found it there",
                advice="Put the output folder on a disk that all machines share.",
            )
        trainer = checkpoint.state(_TRAINER)
        self._check_identity(trainer["identity"], checkpoint.path)
        optimizer = checkpoint.state("optimizer")
        check_optimizer(checkpoint, self.updater.optimizer, optimizer)
        weights = fit(self.skeleton, *checkpoint.model_state(), checkpoint.path)
        self.processes.load_model_state(self.model, weights)
        self.processes.load_optimizer_state(self.model, self.updater.optimizer, optimizer)
        self._restore_scaler(checkpoint)
        self.updater.gradients.load_state_dict(trainer["gradients"])
        self.updater.losses.load_state_dict(trainer["losses"])
        self.stopping.load_state_dict(trainer["stopping"])
        self.reporter.load_state_dict(trainer["since"])
        self._restore_rng(checkpoint.training_state)
        return RecoveryState(**trainer["recovery"])

    def _check_identity(self, found: dict[str, Any], path: Path) -> None:
        now = attrs.asdict(self.identity)
        different = {key: (now[key], found.get(key)) for key in now if now[key] != found.get(key)}
        if different:
            shown = [
                "the data are others" if key == "data" else f"{key} is {here} now and was {there}"
                for key, (here, there) in different.items()
            ]
            raise RunMismatchError(
                f"{path.name} is of another run",
                differences=different,
                why="; ".join(shown),
                advice="Resume with the same data and settings, or start anew in another folder.",
            )

    def _restore_scaler(self, checkpoint: Checkpoint) -> None:
        self.updater.scaler = self.updater.precision.scaler()
        state = checkpoint.state("scaler") if "scaler" in checkpoint.states else {}
        if state and self.updater.scaler.is_enabled():
            self.updater.scaler.load_state_dict(state)

    def _restore_rng(self, state: TrainingState) -> None:
        if len(state.rng) == self.processes.count:
            restore_rng(state.rng[self.processes.rank])
        else:
            # Another number of processes: no state fits, and this at least depends on nothing else.
            torch.manual_seed(self.identity.seed + 1_000_003 * (state.step + 1) + self.processes.rank)

    def _by_main(self, action: Any) -> Any:
        """Let the main process do something, and give its result, or its error, to all."""
        outcome: tuple[bool, Any] = (True, None)
        if self.processes.is_main:
            try:
                outcome = (True, action())
            except CheckpointError as error:
                outcome = (False, error)
        done, value = self.processes.from_main(outcome)
        if not done:
            raise value
        return value
