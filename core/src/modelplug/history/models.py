"""What is kept of a model, and how one is known again where it has been moved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history.records import KnownModel, SeenModel, now
from modelplug.history.table import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from modelplug.formats.model_info import ModelInfo

__all__ = ["MODELS", "SEEN", "facts_of", "keep_seen", "seen_model"]

MODELS = Table("models", KnownModel)
SEEN = Table("seen", SeenModel)

_LONGEST_TEXT = 500
"""A chat template, say, is not worth keeping in full."""

_SHAPE = (
    "name", "kind", "format_version", "context_length", "layers", "embedding_length", "heads", "key_length",
    "value_length", "sliding_window", "experts", "vocabulary_size", "tokenizer", "tensor_types",
)  # fmt: skip


def facts_of(info: ModelInfo | None) -> dict[str, Any]:
    """The attributes that a record of a model takes from an inspection; only those that are known."""
    if info is None:
        return {}
    names: Sequence[str] = ("fingerprint", "format", "architecture", "quantization", "size", "parameters")
    found = {name: getattr(info, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def seen_model(info: ModelInfo) -> SeenModel:
    """The record of a model by its content.

    Args:
        info: What inspection found.
    """
    shape = {name: value for name in _SHAPE if (value := getattr(info, name, None)) is not None}
    header = {key: value for key, value in info.metadata.items() if _is_short(value)}
    metadata = {**shape, "weights": attrs.asdict(info.weights), "header": header}
    return SeenModel(path=info.path, metadata=metadata, **facts_of(info))


def _is_short(value: object) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT)


def keep_seen(connection: sqlite3.Connection, seen: SeenModel) -> list[tuple[KnownModel, Path]]:
    """Keep where a model was seen, and give its names the new path where the old one leads nowhere.

    A path that has a name already is another copy, and takes none.

    Args:
        connection: The open database.
        seen: The model.

    Returns:
        Each name that was given the new path, as it is now, with the old path.
    """
    SEEN.insert(connection, seen, key="fingerprint", keep=["first_seen"])
    moved: list[tuple[KnownModel, Path]] = []
    same = MODELS.select(connection, {"fingerprint": seen.fingerprint})
    if any(model.path == seen.path for model in same):
        return moved
    for model in same:
        if not _exists(model.path):
            anew = attrs.evolve(model, path=seen.path, last_seen=now())
            MODELS.insert(connection, anew, key="name")
            moved.append((anew, model.path))
    return moved


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
