"""What the settings of 1.0 are in 0.9: the names and places they go back to, and those that are new."""

from __future__ import annotations

from modelplug_migrators.resnet_bk.configs.settings import SETTINGS, Setting

__all__ = ["BY_PLACE", "NEW", "older_place"]

NEW: dict[str, frozenset[str]] = {
    "model": frozenset(
        {
            "mixer", "expand", "value_dim", "key_dim", "free_heads", "complex_heads", "conv_kernel",
            "copy_key_dim", "diagonal_heads", "feed_forward", "intermediate_size",
            "parallel_feed_forward", "norm",
            "norm_eps", "position_embeddings", "head_bias", "tie_word_embeddings", "initializer_range",
            "use_cache",
            "learning_rate", "batch_size", "mixed_precision",
        }
    ),
    "training": frozenset(
        {"parallel", "find_unused_parameters", "patience", "least_gain", "recovery", "sequence_length"}
    ),
    "data": frozenset({"texts", "validation", "validation_fraction", "column", "tokenizer", "vocabulary"}),
}  # fmt: skip
"""The settings that 0.9 does not have, by section."""

_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "gradient_checkpointing": ("training", "gradient_checkpointing"),
    "epsilon_schedule": ("training", "epsilon_schedule"),
    "keep_checkpoints": ("checkpoint", "keep_last_n"),
    "tensorboard": ("monitoring", "use_tensorboard"),
    "seed": ("seed",),
    "device": ("device",),
}

BY_PLACE: dict[tuple[str, str], Setting] = {setting.place: setting for setting in SETTINGS}
"""The settings by their section and name in 1.0."""


def older_place(section: str, name: str) -> tuple[str, ...] | None:
    """Where a setting of 1.0 stands in 0.9; None if 0.9 does not have it.

    Args:
        section: Its section in 1.0.
        name: Its name in 1.0.
    """
    if name in NEW.get(section, ()):
        return None
    setting = BY_PLACE.get((section, name))
    return _ELSEWHERE.get(name, (section, name if setting is None else setting.name))
