"""How models look in tables, and what they are called where only their content is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history.places.machine import name_of

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import HistoryStore, KnownModel, SeenModel

__all__ = ["COLUMNS", "ModelNames", "as_plain", "facts_of", "kind_of", "row_of", "size_of"]

COLUMNS = ("NAME", "MODEL", "SIZE", "PATH")


class ModelNames:
    """What models are called: by their name here, or else by their file.

    Args:
        history: Where names are kept.
    """

    def __init__(self, history: HistoryStore) -> None:
        self._seen = history.seen()
        self._names: dict[str, str] = {}
        for model in history.models():
            if model.fingerprint:
                self._names.setdefault(model.fingerprint, model.name)

    def of(self, fingerprint: str) -> str:
        """What the model of this content is called."""
        if fingerprint in self._names:
            return self._names[fingerprint]
        seen = self._seen.get(fingerprint)
        return name_of(seen.path) if seen is not None else fingerprint.rpartition(":")[2][:12]

    def fingerprint_of(self, text: str) -> str | None:
        """The content that a name, or the beginning of a fingerprint of at least 6 digits, stands for."""
        for fingerprint, name in self._names.items():
            if name == text:
                return fingerprint
        known = {*self._seen, *self._names}
        digits = text.rpartition(":")[2]
        found = [one for one in known if len(digits) >= 6 and one.rpartition(":")[2].startswith(digits)]
        return found[0] if len(found) == 1 else None


def facts_of(info: ModelInfo | SeenModel | None) -> dict[str, Any]:
    """What is printed of a model as JSON."""
    names = ("format", "architecture", "quantization", "size", "parameters")
    return {name: getattr(info, name, None) for name in names}


def row_of(model: KnownModel, where: str = "") -> tuple[object, ...]:
    """A model as a row under `COLUMNS`.

    Args:
        model: The model.
        where: What to show instead of its path.
    """
    missing = "" if model.path.exists() else " (missing)"
    return (model.name, kind_of(model), size_of(model.size), (where or str(model.path)) + missing)


def kind_of(model: KnownModel | ModelInfo | SeenModel) -> str:
    """Format, architecture and quantisation in a few words."""
    parts = (model.format, model.architecture, model.quantization)
    return " ".join(part for part in parts if part)


def size_of(size: int | None) -> str:
    """A number of bytes for people; empty if it is not known."""
    from modelplug.system.report import format_bytes

    return "" if size is None else format_bytes(size)


def as_plain(model: KnownModel, distribution: str | None = None) -> dict[str, Any]:
    """A model as JSON holds it.

    Args:
        model: The model.
        distribution: The distribution that brings it; None if it is the user's own.
    """
    plain = {**attrs.asdict(model), "path": str(model.path), "exists": model.path.exists()}
    return {**plain, "distribution": distribution}
