"""The settings of a training run."""

from __future__ import annotations

import difflib
from typing import Any, Final, Literal

import attrs

from modelplug.config.types import Mismatch, admit, describe
from resnet_bk.training.errors import TrainingConfigError

__all__ = ["RecoverySettings", "TrainingConfig"]

# The least and the greatest value of each number; None where there is no end.
_LIMITS: Final[dict[str, tuple[float, float | None]]] = {
    "steps": (1, None),
    "epochs": (1e-9, None),
    "batch_size": (1, None),
    "accumulation": (1, None),
    "sequence_length": (1, None),
    "learning_rate": (1e-12, None),
    "final_learning_rate": (0, 1),
    "warmup": (0, 1),
    "weight_decay": (0, None),
    "beta1": (0, 0.999999),
    "beta2": (0, 0.99999999),
    "adam_epsilon": (0, None),
    "gradient_clip": (1e-12, None),
    "seed": (0, 2**63 - 1),
    "evaluate_every": (1, None),
    "evaluation_windows": (1, None),
    "checkpoint_every": (1, None),
    "keep_checkpoints": (1, None),
    "patience": (1, None),
    "least_gain": (0, None),
    "log_every": (1, None),
    "attempts": (0, None),
    "gradient_factor": (1, None),
    "loss_rise": (0, None),
    "window": (2, None),
    "learning_rate_factor": (0, 1),
    "least_learning_rate": (0, None),
    "epsilon_factor": (1, None),
    "greatest_epsilon": (0, None),
    "quiet_steps": (1, None),
}


class _Settings:
    """Checks every value against its annotation and its limits when the settings are made."""

    def __attrs_post_init__(self) -> None:
        kind: Any = type(self)
        attrs.resolve_types(kind)
        for field in attrs.fields(kind):
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, admit(value, field.type))
            except Mismatch as error:
                raise TrainingConfigError(
                    f"{field.name} can't be {value!r}", key=field.name, value=value, why=f"it is {error}"
                ) from error
            self._check_limits(field.name, value)

    def _check_limits(self, name: str, value: Any) -> None:
        low, high = _LIMITS.get(name, (None, None))
        if low is None or value is None or (low <= value and (high is None or value <= high)):
            return
        limits = f"it is at least {low:g}" + ("" if high is None else f" and at most {high:g}")
        raise TrainingConfigError(f"{name} can't be {value}", key=name, value=value, why=limits)


@attrs.frozen(kw_only=True)
class RecoverySettings(_Settings):
    """What counts as a failure of training, and what is tried against it.

    Attributes:
        enabled: Whether training recovers by itself; without, the first failure ends it with a report.
        attempts: How often it is tried to get past the same place.
        gradient_factor: A gradient whose norm is more than this many times the running median is a failure.
        loss_rise: A smoothed loss that rose by more than this share within the window is a failure.
        window: The steps over which the median is taken and a rise of the loss is looked for.
        learning_rate_factor: What the learning rate is multiplied with.
        least_learning_rate: The learning rate is never lowered below this.
        epsilon_factor: What the model's epsilon is multiplied with.
        greatest_epsilon: The epsilon is never raised above this.
        quiet_steps: After so many steps without a failure beyond the place of the first, it is overcome.
    """

    enabled: bool = True
    attempts: int = 3
    gradient_factor: float = 10.0
    loss_rise: float = 0.5
    window: int = 100
    learning_rate_factor: float = 0.1
    least_learning_rate: float = 1e-7
    epsilon_factor: float = 1.5
    greatest_epsilon: float = 2.0
    quiet_steps: int = 100


@attrs.frozen(kw_only=True)
class TrainingConfig(_Settings):
    """How a model is trained.

    Attributes:
        steps: Updates of the parameters; None takes as many as `epochs` asks for.
        epochs: Passes over the data, where `steps` does not say.
        batch_size: Sequences per update, over all processes.
        accumulation: Into how many parts each process divides its share of a batch, to save memory.
        sequence_length: Tokens in a sequence.
        learning_rate: The highest learning rate.
        schedule: `one-cycle` (up and down along a cosine), `cosine` (straight up, down along a cosine) or
            `constant` (straight up, then level).
        warmup: The share of the steps in which the learning rate rises.
        final_learning_rate: The last learning rate, as a share of the highest; not for `constant`.
        weight_decay: For matrices; biases, norms and the like have none.
        beta1: Adam's memory of gradients.
        beta2: Adam's memory of their squares.
        adam_epsilon: Adam's epsilon.
        gradient_clip: Gradients of a larger norm are scaled down to it; None leaves them.
        precision: `auto`, `float32`, `bfloat16` or `float16`; the last two keep parameters in float32.
        seed: Of the order of the data and of every random number.
        device: `auto`, or what torch calls a device.
        parallel: `auto` (what `accelerate launch` was told), `ddp` or `fsdp2`; means nothing for one process.
        find_unused_parameters: For `ddp`: whether some parameters may take no part in an update.
        evaluate_every: Steps between evaluations; None evaluates at the end only.
        evaluation_windows: Sequences of the validation data to use; None uses all.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: How many of the newest are kept, besides the best.
        patience: Stop after so many evaluations without a gain; None never does.
        least_gain: What counts as a gain, in nats per token.
        log_every: Steps between reports.
        tensorboard: Whether TensorBoard's files are written, too.
        recovery: What happens when training fails.
    """

    steps: int | None = None
    epochs: float = 1.0
    batch_size: int = 16
    accumulation: int = 1
    sequence_length: int = 256
    learning_rate: float = 1e-3
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = 0.05
    final_learning_rate: float = 0.0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    adam_epsilon: float = 1e-8
    gradient_clip: float | None = 1.0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = 0
    device: str = "auto"
    parallel: Literal["auto", "ddp", "fsdp2"] = "auto"
    find_unused_parameters: bool = False
    evaluate_every: int | None = None
    evaluation_windows: int | None = None
    checkpoint_every: int = 500
    keep_checkpoints: int = 5
    patience: int | None = None
    least_gain: float = 0.0
    log_every: int = 10
    tensorboard: bool = False
    recovery: RecoverySettings = attrs.field(factory=RecoverySettings)

    @staticmethod
    def wishes_of(model_config: object) -> dict[str, Any]:
        """What a model's configuration says of training, as settings: for `from_dict`, before other settings.

        Args:
            model_config: A configuration with some of `learning_rate`, `batch_size`, `mixed_precision`.
        """
        names = ("learning_rate", "batch_size")
        found = {name: getattr(model_config, name) for name in names if hasattr(model_config, name)}
        if getattr(model_config, "mixed_precision", True) is False:
            found["precision"] = "float32"
        return found

    def to_dict(self) -> dict[str, Any]:
        """The settings as data for JSON."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainingConfig:
        """Settings from data, for example a file.

        Args:
            data: Values by name; those not named have their defaults.

        Raises:
            TrainingConfigError: A name is unknown, or a value makes no sense.
        """
        recovery = data.get("recovery", {})
        if not isinstance(recovery, dict):
            raise TrainingConfigError(
                "recovery is an object", key="recovery", value=recovery, why=f"it is {describe(dict)}"
            )
        _check_names(data, cls)
        _check_names(recovery, RecoverySettings)
        return cls(**{**data, "recovery": RecoverySettings(**recovery)})


def _check_names(data: dict[str, Any], kind: type) -> None:
    known = [field.name for field in attrs.fields(kind)]
    for name in data:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TrainingConfigError(
                f"there is no setting {name!r}",
                key=name,
                value=data[name],
                advice=f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}.",
            )
