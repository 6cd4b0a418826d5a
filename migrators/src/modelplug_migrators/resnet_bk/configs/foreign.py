"""Says what files are that stand beside configurations of models, and are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelplug_migrators.resnet_bk.configs.damage import tags_of_code

if TYPE_CHECKING:
    from modelplug.migration.candidates import Candidate

__all__ = ["foreign", "is_dataset_list"]

_SHAPE = frozenset({"d_model", "n_layers", "num_layers", "n_layer", "n_seq"})
_OF_A_DATASET = frozenset(
    {"path", "weight", "source", "subset", "max_samples", "text_field", "split", "name"}
)
_RESULTS = frozenset(
    {
        "results", "metrics", "perplexity", "ppl", "accuracy", "loss", "final_loss", "best_val_loss",
        "all_valid", "tv_distances", "measures_computed", "compression_ratio", "summary", "benchmark",
        "benchmarks", "timestamp", "args", "throughput", "tokens_per_second", "val_loss", "train_losses",
        "epsilon_values",
    }
)  # fmt: skip


def foreign(candidate: Candidate) -> str:
    """What a file is that belongs to ResNet-BK and is no configuration of a model; empty for any other.

    Args:
        candidate: A file that was not recognised as a configuration.
    """
    if candidate.is_folder or candidate.format is None:
        return ""
    what = _kind_of(candidate.mapping)
    if what and candidate.value is not None and any(tags_of_code(candidate.document)):
        what += "; it names Python objects, none of which was made"
    return what


def _kind_of(values: Mapping[str, Any]) -> str:
    if is_dataset_list(values):
        return "a list of datasets, and no configuration of a model"
    if _is_goal(values):
        return "a goal for training (a mixture of datasets), and no configuration of a model"
    if len(_RESULTS.intersection(values)) > 1 or ("args" in values and isinstance(values["args"], Mapping)):
        return "a record of results, and no configuration of a model"
    return ""


def is_dataset_list(values: Mapping[str, Any]) -> bool:
    """Whether a file lists datasets, and says nothing of a model."""
    if _SHAPE.intersection(values) or any(
        isinstance(values.get(name), Mapping) and _SHAPE.intersection(values[name])
        for name in ("model", "config")
    ):
        return False
    listed = values.get("datasets")
    entries = (
        list(listed.values()) if isinstance(listed, Mapping) else listed if isinstance(listed, list) else []
    )
    return bool(entries) and all(
        isinstance(entry, Mapping) and _OF_A_DATASET.intersection(entry) for entry in entries
    )


def _is_goal(values: Mapping[str, Any]) -> bool:
    return isinstance(values.get("dataset_mix"), Mapping) and not _SHAPE.intersection(values)
