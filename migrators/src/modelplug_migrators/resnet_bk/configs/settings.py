"""Every setting with all the names it ever had: one table, in the order in which its names count."""

from __future__ import annotations

from typing import Any

import attrs

from modelplug.migration.versions import Version
from modelplug_migrators.resnet_bk.configs.schema import SECTIONS
from modelplug_migrators.resnet_bk.versions import V0_5, V0_6, V0_8, V0_9, V1_0

__all__ = ["BY_NAME", "SETTINGS", "Setting", "field_names"]


@attrs.frozen(kw_only=True)
class Setting:
    """One setting.

    Attributes:
        place: Section and name in 1.0.
        name: Its name in 0.9.
        aliases: Its other names, the ones that count most first.
        joined: The version that has the one name only.
        derived: Whether the value in 1.0 is worked out, and not carried over.
    """

    place: tuple[str, str]
    name: str
    aliases: tuple[str, ...] = ()
    joined: Version = V1_0
    derived: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the ones that count most first."""
        return tuple(dict.fromkeys((self.name, self.place[1], *self.aliases)))


def _of(
    section: str,
    new: str,
    *names: str,
    joined: Version = V1_0,
    derived: bool = False,
) -> Setting:
    """A setting from its section and name in 1.0, and its older names, that of 0.9 first."""
    name, *aliases = names or (new,)
    return Setting(place=(section, new), name=name, aliases=tuple(aliases), joined=joined, derived=derived)


_MODEL = (
    _of("model", "n_layers", "n_layers", "num_layers", "n_layer", joined=V0_9),
    _of(
        "model", "n_seq", "n_seq", "max_seq_len", "max_seq_length", "seq_len", "seq_length", joined=V0_6
    ),
    _of("model", "num_experts", "num_experts", "hmoe_num_experts"),
    _of("model", "dropout", "dropout", "dropout_p", "attention_dropout", joined=V0_9),
    _of("model", "use_prime_bump", "use_prime_bump", "prime_bump_init", joined=V0_9),
    _of("model", "low_rank", "low_rank", "semiseparable_rank", joined=V0_5),
    _of("model", "use_cpu_offload", "use_cpu_offload", "cpu_offload", joined=V0_5),
    _of(
        "model", "use_act",
        "use_act", "use_adaptive_computation", "adaptive_computation", "enable_adaptive_computation",
        joined=V0_8,
    ),
    _of(
        "model", "act_halt_threshold",
        "act_halt_threshold", "act_threshold", "halt_threshold_low", "early_exit_threshold",
        joined=V0_8,
    ),
    _of(
        "model", "gradient_checkpointing",
        "gradient_checkpointing", "use_gradient_checkpointing", "enable_gradient_checkpointing",
        "use_activation_checkpointing",
    ),
    _of("model", "potential_limit", "v_max"),
    _of("model", "grad_blend"),
)  # fmt: skip

_TRAINING = (
    _of("training", "learning_rate", "learning_rate", "lr"),
    _of("training", "beta1", "adam_beta1", "beta1"),
    _of("training", "beta2", "adam_beta2", "beta2"),
    _of("training", "adam_epsilon", "adam_epsilon", "optimizer_eps", "eps"),
    _of(
        "training", "gradient_clip",
        "max_grad_norm", "grad_clip", "gradient_clip_norm", "optimizer_max_grad_norm", "grad_clip_train",
        "grad_clip_warmup",
    ),
    _of("training", "steps", "max_steps"),
    _of("training", "epochs", "epochs", "num_epochs", "recommended_epochs", "min_epochs"),
    _of("training", "accumulation", "gradient_accumulation_steps", "grad_accum_steps"),
    _of("training", "evaluate_every", "eval_interval", "eval_every"),
    _of("training", "checkpoint_every", "save_interval", "save_every"),
    _of("training", "log_every", "log_interval", "log_every"),
    _of("training", "keep_checkpoints", "keep_last_n"),
    _of("training", "tensorboard", "use_tensorboard"),
    _of("training", "seed", "seed", "manual_seed"),
    _of("training", "schedule", "lr_scheduler", "lr_scheduler_type", derived=True),
    _of("training", "precision", "mixed_precision", "use_mixed_precision", "fp16", derived=True),
    _of("training", "warmup", "warmup_ratio"),
)  # fmt: skip

_OTHER = (
    _of("data", "dataset", "dataset", "dataset_path", "dataset_name"),
    _of("data", "data_dir"),
    _of("checkpoint", "save_dir"),
    _of("monitoring", "project_name", "project_name", "wandb_project"),
    _of("monitoring", "experiment_name", "experiment_name", "wandb_run_name"),
)


def field_names(section: str) -> tuple[str, ...]:
    """The names that a section of 1.0 has."""
    kind: Any = SECTIONS[section]
    return tuple(field.name for field in attrs.fields(kind))


# For training, the model's own section says nothing that the section `training` does not.
_TRAINED_BY = frozenset({"learning_rate", "batch_size", "mixed_precision"})


def _plain() -> list[Setting]:
    """The settings that have had one name only."""
    named = {setting.place for setting in (*_MODEL, *_TRAINING, *_OTHER)}
    return [
        _of(section, name)
        for section in ("model", "training", "data")
        for name in field_names(section)
        if (section, name) not in named and not (section == "model" and name in _TRAINED_BY)
    ]


SETTINGS: tuple[Setting, ...] = (*_MODEL, *_TRAINING, *_OTHER, *_plain())
"""Every setting that has a place in 1.0."""

BY_NAME: dict[str, Setting] = {name: setting for setting in reversed(SETTINGS) for name in setting.names}
"""The setting that each name, of whatever version, stands for."""
