"""Makes everything a run needs, and runs it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from modelplug.atomic import write_atomically
from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.checkpoints.weights import Skeleton, config_of
from resnet_bk.data.packing import PackedSequences
from resnet_bk.data.tokenizers import Tokenizer
from resnet_bk.data.tokens import TokenStream
from resnet_bk.training.config import TrainingConfig
from resnet_bk.training.errors import RunExistsError, TrainingConfigError, TrainingError
from resnet_bk.training.evaluation import EarlyStopping
from resnet_bk.training.monitors import GradientStabilityMonitor, LossSpikeMonitor
from resnet_bk.training.optimizer import exempt_from_decay, make_optimizer
from resnet_bk.training.persistence import Identity, Keeper
from resnet_bk.training.precision import choose_precision, matrix_width
from resnet_bk.training.processes import Processes, start_processes
from resnet_bk.training.progress import Progress, SilentProgress
from resnet_bk.training.reporting import Reporter
from resnet_bk.training.result import TrainingResult
from resnet_bk.training.schedule import Schedule
from resnet_bk.training.trainer import Trainer
from resnet_bk.training.update import Updater

__all__ = ["train"]


def train(
    model: torch.nn.Module,
    data: TokenStream,
    config: TrainingConfig | None = None,
    *,
    output: str | Path,
    validation: TokenStream | None = None,
    tokenizer: Tokenizer | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    metadata: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train a model to predict the next token.

    A run that is killed at any moment and resumed ends, on a CPU, with the same parameters to the bit. Under
    `accelerate launch` several processes train together. The random number generators of this process are
    seeded.

    Args:
        model: A model that follows the convention of transformers: `model(input_ids=...)` gives `logits`. It
            is trained in place.
        data: The tokens to train on.
        config: The settings; None takes the defaults.
        output: The folder of the run: checkpoints, `metrics.jsonl`, `training.json`, and a report if training
            fails.
        validation: The tokens to evaluate on.
        tokenizer: Kept beside every checkpoint, so that the folder is complete.
        resume: Go on from the newest intact checkpoint of the folder, if there is one.
        progress: What shows progress; None shows nothing.
        should_stop: Asked before every update; once it is true, a checkpoint is saved and training ends.
        metadata: Kept in every checkpoint.

    Raises:
        DataError: The data are too short, or hold tokens that the model does not know.
        TrainingConfigError: A setting makes no sense.
        RunExistsError: The folder holds a run, and it was not to be resumed.
        RunMismatchError: The run in the folder is of other data or another order.
        TrainingFailedError: Training failed again and again; a report says how.
        TrainingError: The folder can't be written, or the model can't be trained.
        CheckpointError: A checkpoint can't be saved or loaded.
    """
    config = config or TrainingConfig()
    output = Path(output).expanduser()
    sequences = PackedSequences(data, config.sequence_length)
    held_out = None if validation is None else PackedSequences(validation, config.sequence_length)
    _check_vocabulary(model, data, validation)
    processes = start_processes(config)
    _check_batch(config, processes)
    manager = CheckpointManager(output / "checkpoints", keep=config.keep_checkpoints)
    if processes.is_main:
        _prepare_output(output, manager, config, resume=resume)
    processes.from_main(None)  # nobody goes on before the folder is there
    _seed(config.seed + processes.rank)

    # What is asked of the model has to be asked before its parameters are distributed.
    model_config, skeleton = config_of(model), Skeleton.of(model)
    updater = _make_updater(model, config, processes)
    steps = config.steps or math.ceil(config.epochs * len(sequences) / config.batch_size)
    reporter = Reporter(
        output,
        config,
        steps=steps,
        progress=progress if progress is not None and processes.is_main else SilentProgress(),
        files=processes.is_main,
    )
    keeper = Keeper(
        manager,
        processes=processes,
        updater=updater,
        schedule=Schedule.of(config.schedule, steps, config.warmup, config.final_learning_rate),
        stopping=EarlyStopping(config.patience, config.least_gain),
        reporter=reporter,
        identity=Identity(
            data=data.fingerprint(),
            sequence_length=config.sequence_length,
            batch_size=config.batch_size,
            seed=config.seed,
        ),
        config=model_config,
        skeleton=skeleton,
        extra_files={} if tokenizer is None else tokenizer.files(),
        metadata=metadata or {},
    )
    trainer = Trainer(
        config,
        output=output,
        data=sequences,
        validation=held_out,
        processes=processes,
        updater=updater,
        keeper=keeper,
        reporter=reporter,
        should_stop=should_stop or (lambda: False),
    )
    try:
        return _run(trainer, resume=resume)
    finally:
        reporter.close()


def _run(trainer: Trainer, *, resume: bool) -> TrainingResult:
    begin_from = trainer.keeper.newest() if resume else None
    parameters = sum(each.numel() for each in trainer.keeper.model.parameters())
    precision, processes = trainer.updater.precision, trainer.processes
    together = "" if processes.count == 1 else f", {processes.count} processes"
    trainer.reporter.note(
        f"{parameters:,} parameters, {trainer.schedule.steps} steps on {processes.device}{together}, "
        f"{precision.name}: {precision.reason}"
    )
    if begin_from is not None:
        for damage in begin_from.passed_over:
            trainer.reporter.note(f"passed over a damaged checkpoint: {damage}")
        trainer.reporter.note(f"going on from step {begin_from.step} ({begin_from.path.name})")
    trainer.reporter.open(0 if begin_from is None else begin_from.step)
    return trainer.run(begin_from)


def _make_updater(model: torch.nn.Module, config: TrainingConfig, processes: Processes) -> Updater:
    exempt, width = exempt_from_decay(model), matrix_width(model)
    wrapped = processes.wrap(model.to(processes.device))
    recovery = config.recovery
    return Updater(
        wrapped,
        make_optimizer(model, config, exempt),
        processes=processes,
        precision=choose_precision(
            config.precision, processes.device, width=width, sharded=processes.sharded
        ),
        clip=config.gradient_clip,
        gradients=GradientStabilityMonitor(factor=recovery.gradient_factor, window=recovery.window),
        losses=LossSpikeMonitor(rise=recovery.loss_rise, window=recovery.window),
    )


def _check_vocabulary(model: torch.nn.Module, *streams: TokenStream | None) -> None:
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    for stream in streams:
        if stream is not None and isinstance(size, int):
            stream.check_vocabulary(size)


def _check_batch(config: TrainingConfig, processes: Processes) -> None:
    if config.batch_size % processes.count:
        raise TrainingConfigError(
            f"a batch of {config.batch_size} can't be divided among {processes.count} processes",
            key="batch_size",
            value=config.batch_size,
            advice=f"Make it a multiple of {processes.count}.",
        )
    if processes.sharded and config.precision == "float16":
        raise TrainingConfigError(
            "float16 does not go with distributed parameters",
            key="precision",
            value=config.precision,
            why="the gradient scaler it needs works on whole parameters",
            advice="Use bfloat16, or `parallel` ddp.",
        )


def _prepare_output(
    output: Path, manager: CheckpointManager, config: TrainingConfig, *, resume: bool
) -> None:
    if not resume and manager.latest() is not None:
        raise RunExistsError(
            f"{output} holds a run already",
            path=output,
            why="a new run would mix with it",
            advice="Resume it (`--resume`), or choose another folder.",
        )
    try:
        write_atomically(output / "training.json", json.dumps(config.to_dict(), indent=1) + "\n")
    except OSError as error:
        raise TrainingError(
            f"the folder {output} can't be written",
            why=error.strerror or str(error),
            advice="Choose another output folder.",
        ) from error


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
