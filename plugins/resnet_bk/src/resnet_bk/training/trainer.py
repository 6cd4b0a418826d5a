"""The loop: updates, reports, evaluations, checkpoints, and what to do when an update fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from resnet_bk.checkpoints import Checkpoint, TrainingState
from resnet_bk.data.packing import Batch, BatchOrder, PackedSequences
from resnet_bk.training.config import TrainingConfig
from resnet_bk.training.epsilon import epsilon_of, set_epsilon
from resnet_bk.training.errors import TrainingFailedError
from resnet_bk.training.evaluation import Evaluation, evaluate
from resnet_bk.training.optimizer import set_learning_rate
from resnet_bk.training.persistence import Keeper
from resnet_bk.training.processes import Processes
from resnet_bk.training.recovery import OUT_OF_MEMORY, Failure, RecoveryState, Situation, decide
from resnet_bk.training.report import advice_for, write_report
from resnet_bk.training.reporting import Reporter
from resnet_bk.training.result import TrainingResult
from resnet_bk.training.update import Attempt, Updater

__all__ = ["Trainer"]


class Trainer:
    """Trains a model; everything it needs is made by `train`.

    Args:
        config: The settings.
        output: The folder of the run.
        data: What is trained on.
        validation: What is evaluated on; None for nothing.
        processes: Those that train together.
        updater: The model, its optimizer, and what watches them.
        keeper: What keeps checkpoints, and knows what belongs into them.
        reporter: What tells how training gets on.
        should_stop: Asked before every update whether to stop.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        output: Path,
        data: PackedSequences,
        validation: PackedSequences | None,
        processes: Processes,
        updater: Updater,
        keeper: Keeper,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> None:
        self.config = config
        self.output = output
        self.data = data
        self.validation = validation
        self.processes = processes
        self.updater = updater
        self.keeper = keeper
        self.reporter = reporter
        self.should_stop = should_stop
        self.schedule = keeper.schedule
        self.stopping = keeper.stopping
        self.order = BatchOrder(len(data), config.batch_size, config.seed)
        self.share = config.batch_size // processes.count
        self.step = 0
        self.recovery = RecoveryState(accumulation=config.accumulation)
        self.checkpoint: Path | None = None
        self.evaluation: Evaluation | None = None
        self._stable: str | None = None

    def run(self, begin_from: Checkpoint | None) -> TrainingResult:
        """Train to the end.

        Args:
            begin_from: The checkpoint to go on from; None begins.

        Raises:
            TrainingFailedError: It failed again and again.
            CheckpointError: A checkpoint can't be saved.
        """
        if begin_from is None:
            # There has to be something to go back to from the first step on.
            self._save()
        else:
            self._go_on_from(begin_from)
        stopped = "finished"
        while self.step < self.schedule.steps:
            if self.stopping.enough:
                stopped = "early"
                break
            if self._asked_to_stop():
                stopped = "interrupted"
                self._save_unless_saved()
                break
            attempt = self._update()
            if attempt.failure is not None:
                self._recover(attempt.failure)
            else:
                self._count(attempt)
        return self._result(stopped, begin_from)

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        self.recovery = self.keeper.restore(checkpoint)
        self._set_epsilon()
        self.step = checkpoint.step
        self.checkpoint = checkpoint.path
        self._stable = checkpoint.training_state.last_stable_checkpoint

    # One step -----------------------------------------------------------------------------------------

    def _update(self) -> Attempt:
        rate = self.config.learning_rate * self.recovery.learning_rate_scale * self.schedule.at(self.step)
        set_learning_rate(self.updater.optimizer, rate)
        return self.updater.attempt(self.step, self._batch(), self.recovery.accumulation)

    def _batch(self) -> Batch:
        """This process's share of the batch."""
        first = self.processes.rank * self.share
        return self.data.batch(self.order.at(self.step)[first : first + self.share])

    def _count(self, attempt: Attempt) -> None:
        self.step += 1
        self.reporter.count(attempt)
        if self.recovery.overcome(self.step, self.config.recovery):
            self.reporter.note(f"step {self.step}: the failure is overcome")
        last = self.step == self.schedule.steps
        if last or self._due(self.config.log_every):
            rate = self.updater.optimizer.param_groups[0]["lr"]
            self.reporter.report(self.step, self.order.epoch_after(self.step), rate, attempt)
        evaluation = self._evaluate() if last or self._due(self.config.evaluate_every) else None
        best = evaluation is not None and self.stopping.observe(evaluation.loss)
        if last or best or self.stopping.enough or self._due(self.config.checkpoint_every):
            finite = evaluation is not None and math.isfinite(evaluation.loss)
            self._save(evaluation.loss if evaluation is not None and finite else None)

    def _due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    def _evaluate(self) -> Evaluation | None:
        if self.validation is None:
            return None
        self.evaluation = evaluate(
            self.updater.model,
            self.validation,
            processes=self.processes,
            precision=self.updater.precision,
            batch_size=max(1, self.share // self.recovery.accumulation),
            windows=self.config.evaluation_windows,
        )
        self.reporter.evaluated(self.step, self.evaluation)
        return self.evaluation

    def _asked_to_stop(self) -> bool:
        return self.processes.total([float(self.should_stop())])[0] > 0

    # Checkpoints --------------------------------------------------------------------------------------

    def _save(self, metric: float | None = None) -> None:
        best = self.stopping.best
        state = TrainingState(
            epoch=self.order.epoch_after(self.step),
            step=self.step,
            epsilon=epsilon_of(self.keeper.model),
            best_ppl=None if best is None else Evaluation(loss=best, tokens=0).perplexity,
            last_stable_checkpoint=self._stable,
        )
        self.checkpoint = self.keeper.save(state, self.recovery, metric=metric)
        if self.recovery.failed_at is None:
            self._stable = self.checkpoint.name

    def _save_unless_saved(self) -> None:
        saved = self.keeper.newest()
        if saved is None or saved.step != self.step:
            self._save()

    # Failures -----------------------------------------------------------------------------------------

    def _recover(self, failure: Failure) -> None:
        situation = Situation(
            learning_rate=self.config.learning_rate * self.recovery.learning_rate_scale,
            epsilon=epsilon_of(self.keeper.model),
            share=self.share,
            processes=self.processes.count,
        )
        decision = decide(failure, self.recovery, situation, self.config.recovery)
        self.recovery.note(failure, decision, self.config.recovery)
        if decision.remedy is None:
            self._give_up(failure, decision.text)
        place = f" and went back to step {self._roll_back(failure)}" if decision.roll_back else ""
        self._set_epsilon()
        self.reporter.note(f"step {failure.step}: {failure.message}; {decision.text}{place}")
        # What was changed has to outlive this process, too.
        self._save()

    def _roll_back(self, failure: Failure) -> int:
        onset = failure.step if self.recovery.onset is None else self.recovery.onset
        target = self.keeper.good_before(onset, self.recovery.tried)
        if target is None:
            self._give_up(failure, "there is no intact checkpoint from before it")
        self.keeper.restore(target)
        self.step = self.recovery.tried = target.step
        self.recovery.history[-1]["rolled_back_to"] = target.step
        self.reporter.go_back(self.step)
        return self.step

    def _set_epsilon(self) -> None:
        if self.recovery.epsilon is not None:
            set_epsilon(self.keeper.model, self.recovery.epsilon)

    def _give_up(self, failure: Failure, verdict: str) -> NoReturn:
        path = self.output / "failure-report.txt"
        # Of several processes one alone may run out of memory, and then nobody else can tell.
        if self.processes.is_main or failure.kind == OUT_OF_MEMORY:
            path = write_report(
                self.output,
                failure=failure,
                verdict=verdict,
                state=self.recovery,
                config=self.config.to_dict(),
                recent={
                    "losses": self.updater.losses.recent,
                    "gradient_norms": list(self.updater.gradients.norms),
                },
                checkpoint=self.checkpoint,
            )
        raise TrainingFailedError(
            f"training failed at step {failure.step}: {failure.message}",
            report=path,
            why=verdict,
            advice=f"{advice_for(failure.kind)} {path} says what was seen and tried.",
        )

    # The end ------------------------------------------------------------------------------------------

    def _result(self, stopped: str, begun_from: Checkpoint | None) -> TrainingResult:
        assert self.checkpoint is not None
        return TrainingResult(
            step=self.step,
            epoch=self.order.epoch_after(self.step),
            loss=self.reporter.loss,
            validation_loss=None if self.evaluation is None else self.evaluation.loss,
            best_validation_loss=self.stopping.best,
            checkpoint=self.checkpoint,
            best_checkpoint=self.keeper.manager.best(),
            stopped=stopped,
            resumed_from=None if begun_from is None else begun_from.step,
            passed_over=() if begun_from is None else begun_from.passed_over,
            precision=self.updater.precision.name,
            precision_reason=self.updater.precision.reason,
            failures=tuple(self.recovery.history),
        )
