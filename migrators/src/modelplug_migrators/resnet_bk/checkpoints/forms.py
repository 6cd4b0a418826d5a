"""The shapes that checkpoints before 1.0 have: who wrote what under which names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BARE", "COMPRESSED", "FOLDER", "FORMS", "MODEL_NAMES", "STATES", "Form", "form_of", "model_entry"]

MODEL_NAMES: Final = ("model_state_dict", "state_dict", "model")
"""Under which names a checkpoint holds the tensors of the model, the usual one first."""

STATES: Final[Mapping[str, str]] = {
    "optimizer_state_dict": "optimizer",
    "optimizer": "optimizer",
    "optimizer_states": "optimizer",
    "scheduler_state_dict": "scheduler",
    "scheduler": "scheduler",
    "lr_scheduler": "scheduler",
    "lr_schedulers": "scheduler",
    "scaler_state_dict": "scaler",
    "scaler": "scaler",
    "ema_state_dict": "ema",
    "ema": "ema",
}
"""Under which names a checkpoint holds states besides the model, and what 1.0 calls them."""


@attrs.frozen(kw_only=True)
class Form:
    """A shape of checkpoints.

    Attributes:
        name: What it is, in words that follow "written by".
        entries: The entries that all of them have, besides the model.
    """

    name: str
    entries: frozenset[str]


def _form(name: str, *entries: str) -> Form:
    return Form(name=name, entries=frozenset(entries))


BARE: Final = _form("torch.save of a bare state dict")
FOLDER: Final = _form("save_pretrained: a folder with config.json and weights")

_OPTIMIZER: Final = "optimizer_state_dict"
_SCHEDULER: Final = "scheduler_state_dict"
_LOSSES: Final = ("train_losses", "val_losses")

FORMS: Final[tuple[Form, ...]] = (
    _form("a program as the guide has it", "model", "optimizer", "epoch", "step"),
    _form("the notebook of a full training", _OPTIMIZER, "config", "metrics"),
    _form("the notebook of the second step", "config", *_LOSSES, "best_alpha"),
    _form("scripts/train.py", "config", "args", "metrics"),
    _form("scripts/train.py", _OPTIMIZER, "config", "args", "metrics"),
    _form("the checkpoint manager", "epoch", "step", "timestamp", "metrics", "config"),
    _form(
        "scripts/train_long_context.py",
        _OPTIMIZER, _SCHEDULER, "global_step", "args", "grad_tracker_stats",
    ),
    _form("the trainer for mixed precision", "epoch", _OPTIMIZER, "scaler_state_dict", "stats"),
    _form("automatic recovery", "step", "epoch", _OPTIMIZER, "metrics", "is_stable", "timestamp"),
    _form(
        "the handler of Colab's time limit",
        "step", "epoch", _OPTIMIZER, "metrics", "timestamp", "session_info", "random_state",
    ),
    _form("scripts/train_phase2.py", "epoch", "global_step", _OPTIMIZER, "best_val_loss", *_LOSSES),
    _form(
        "examples/train_phase1_model.py",
        "epoch", "global_step", _OPTIMIZER, "config", "best_val_loss", *_LOSSES,
    ),
    _form("examples/phase2_training.py", "config", "train_loss"),
    _form("scripts/train_phase7.py", _OPTIMIZER, "epoch", "global_step", "config", "loss"),
    _form("scripts/train_phase7_max.py", _OPTIMIZER, "step", "config"),
    _form("scripts/train_phase7_max.py, the best one", "step", "loss"),
    _form(
        "scripts/train_resnet_bk_8gb.py", "epoch", _OPTIMIZER, _SCHEDULER, "config", "loss", "perplexity"
    ),
    _form("scripts/train_resnet_bk_8gb.py, the final one", "config"),
    _form("scripts/train_phase8.py", "step", "epoch", "loss", _OPTIMIZER, _SCHEDULER, "config"),
    _form("scripts/reborn.py", "config", "args", "reborn_from", "training_info"),
    _form("scripts/merge_models.py", "config", "args", "merged_from", "merge_method"),
    _form("PyTorch Lightning", "epoch", "global_step", "optimizer_states", "lr_schedulers"),
    _form("iterative pruning", "pruning_masks", "metrics"),
    _form("transfer learning", "phase", "pretrain_metrics", "finetune_metrics"),
)  # fmt: skip
"""Every shape with entries; of several that fit, the one with the most entries is meant."""

COMPRESSED: Final = _form("scripts/compress_model.py", "token_embedding", "compression_metadata")


def form_of(entries: Iterable[str]) -> Form | None:
    """Which shape the entries of a checkpoint make; None if none that is known.

    Args:
        entries: Their names.
    """
    there = frozenset(entries)
    if there >= COMPRESSED.entries:
        return COMPRESSED
    fitting = [form for form in FORMS if form.entries <= there]
    return max(fitting, key=lambda form: len(form.entries), default=None)


def model_entry(root: Mapping[Any, Any]) -> str | None:
    """Under which name a checkpoint holds the model; None if it holds none, or is the model itself.

    Args:
        root: The checkpoint.
    """
    return next((name for name in MODEL_NAMES if isinstance(root.get(name), dict)), None)
