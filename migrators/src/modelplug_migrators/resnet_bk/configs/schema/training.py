"""The section `training`: what `resnet-bk train --settings` takes."""

from __future__ import annotations

from typing import Literal

import attrs

from modelplug_migrators.resnet_bk.configs.schema.limits import within

__all__ = ["RecoverySection", "TrainingSection"]


@attrs.frozen(kw_only=True)
class RecoverySection:
    """What counts as a failure of training, and what is tried against it.

    Attributes:
        enabled: Whether training recovers by itself.
        attempts: How often it is tried to get past the same place.
        gradient_factor: So many times the running median is too large a gradient.
        loss_rise: A rise of the loss by more than this share is a failure.
        window: Steps over which medians and rises are taken.
        learning_rate_factor: What the learning rate is multiplied with.
        least_learning_rate: It is never lowered below this.
        epsilon_factor: What the model's epsilon is multiplied with.
        greatest_epsilon: It is never raised above this.
        quiet_steps: After so many steps without a failure, it is overcome.
    """

    enabled: bool = True
    attempts: int = attrs.field(default=3, validator=within(0))
    gradient_factor: float = attrs.field(default=10.0, validator=within(1))
    loss_rise: float = attrs.field(default=0.5, validator=within(0))
    window: int = attrs.field(default=100, validator=within(2))
    learning_rate_factor: float = attrs.field(default=0.1, validator=within(0, 1))
    least_learning_rate: float = attrs.field(default=1e-7, validator=within(0))
    epsilon_factor: float = attrs.field(default=1.5, validator=within(1))
    greatest_epsilon: float = attrs.field(default=2.0, validator=within(0))
    quiet_steps: int = attrs.field(default=100, validator=within(1))


@attrs.frozen(kw_only=True)
class TrainingSection:
    """How a model is trained.

    Attributes:
        steps: Updates of the parameters; null takes as many as `epochs` asks for.
        epochs: Passes over the data.
        batch_size: Sequences per update, over all processes.
        accumulation: Into how many parts each process divides its share of a batch.
        sequence_length: Tokens in a sequence.
        learning_rate: The highest learning rate.
        schedule: How the learning rate goes up and down.
        warmup: The share of the steps in which it rises.
        final_learning_rate: The last one, as a share of the highest.
        weight_decay: For matrices.
        beta1: Adam's memory of gradients.
        beta2: Adam's memory of their squares.
        adam_epsilon: Adam's epsilon.
        gradient_clip: Gradients of a larger norm are scaled down to it; null leaves them.
        precision: The type in which the model computes.
        seed: Of the order of the data and of every random number.
        device: `auto`, or what torch calls a device.
        parallel: How several processes train together.
        find_unused_parameters: Whether some parameters may take no part in an update.
        evaluate_every: Steps between evaluations; null evaluates at the end only.
        evaluation_windows: Sequences to evaluate on; null takes all.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: How many of the newest are kept.
        patience: Stop after so many evaluations without a gain.
        least_gain: What counts as a gain.
        log_every: Steps between reports.
        tensorboard: Whether TensorBoard's files are written.
        recovery: What happens when training fails.
    """

    steps: int | None = attrs.field(default=None, validator=within(1))
    epochs: float = attrs.field(default=1.0, validator=within(1e-9))
    batch_size: int = attrs.field(default=16, validator=within(1))
    accumulation: int = attrs.field(default=1, validator=within(1))
    sequence_length: int = attrs.field(default=256, validator=within(1))
    learning_rate: float = attrs.field(default=1e-3, validator=within(1e-12))
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = attrs.field(default=0.05, validator=within(0, 1))
    final_learning_rate: float = attrs.field(default=0.0, validator=within(0, 1))
    weight_decay: float = attrs.field(default=0.1, validator=within(0))
    beta1: float = attrs.field(default=0.9, validator=within(0, 0.999999))
    beta2: float = attrs.field(default=0.95, validator=within(0, 0.99999999))
    adam_epsilon: float = attrs.field(default=1e-8, validator=within(0))
    gradient_clip: float | None = attrs.field(default=1.0, validator=within(1e-12))
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = attrs.field(default=0, validator=within(0, 2**63 - 1))
    device: str = "auto"
    parallel: Literal["auto", "ddp", "fsdp2"] = "auto"
    find_unused_parameters: bool = False
    evaluate_every: int | None = attrs.field(default=None, validator=within(1))
    evaluation_windows: int | None = attrs.field(default=None, validator=within(1))
    checkpoint_every: int = attrs.field(default=500, validator=within(1))
    keep_checkpoints: int = attrs.field(default=5, validator=within(1))
    patience: int | None = attrs.field(default=None, validator=within(1))
    least_gain: float = attrs.field(default=0.0, validator=within(0))
    log_every: int = attrs.field(default=10, validator=within(1))
    tensorboard: bool = False
    recovery: RecoverySection = attrs.field(factory=RecoverySection)
