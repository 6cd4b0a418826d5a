"""Gives names to the models that were found, and knows those again that were moved."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.errors import ModelplugError
from modelplug.history.imports import free_name
from modelplug.history.places import ollama

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history.places.machine import Found
    from modelplug.history.records import KnownModel
    from modelplug.history.store import HistoryStore

__all__ = ["Scanned", "scan"]

_FORBIDDEN = re.compile(r"[/\\\0\r\n]+")
_NOT_MODELS = {
    "adapter": "it is an adapter, which needs the model it was made for",
    "projector": "it is the part of a model that looks at images",
    "vocabulary": "it holds a vocabulary and no weights",
}


@attrs.frozen(kw_only=True)
class Scanned:
    """What became of one thing that was found.

    Attributes:
        path: Where it is.
        source: The program in whose folder it is.
        name: Its name; empty if it has none.
        change: `added`, `moved`, or empty if it has its name since before, or has none.
        before: The path that its name led to until now, if it was moved.
        info: What inspection found; None if it is no model that can run.
        trouble: Why it is not.
    """

    path: Path
    source: str = ""
    name: str = ""
    change: str = ""
    before: Path | None = None
    info: ModelInfo | None = None
    trouble: str = ""


def scan(
    found: Iterable[Found],
    history: HistoryStore,
    inspect: Callable[[Path], ModelInfo],
    *,
    add: bool,
    taken: Collection[str] = (),
) -> Iterator[Scanned]:
    """Inspect what was found, one after the other, and say what became of each.

    A model whose content is known under a name that leads nowhere any more keeps this name. Nothing is ever
    renamed, and no path gets a second name, but for those of Ollama, where several tags may share a file.

    Args:
        found: What may be models.
        history: Where names are kept.
        inspect: Says what a file is.
        add: Whether to give a name to each that has none.
        taken: Names that can't be given.

    Raises:
        ModelplugError: A name can't be kept.
    """
    scanner = _Scanner(history, inspect, add, taken)
    for one in found:
        result = scanner.take(one)
        if result is not None:
            yield result


class _Scanner:
    def __init__(
        self,
        history: HistoryStore,
        inspect: Callable[[Path], ModelInfo],
        add: bool,
        taken: Collection[str],
    ) -> None:
        self._history = history
        self._inspect = inspect
        self._add = add
        self._taken = set(taken)
        self._known = {model.name: model for model in history.models()}
        self._seen: set[Path] = set()

    def take(self, found: Found) -> Scanned | None:
        """What becomes of one; None if another name of the same file was taken already."""
        result = Scanned(path=found.path, source=found.source)
        if found.trouble:
            return attrs.evolve(result, name="", trouble=f"{found.name}: {found.trouble}")
        real = _real(found.path)
        again, tagged = real in self._seen, found.source == ollama.SOURCE
        self._seen.add(real)
        if again and not tagged:
            return None
        try:
            info = self._inspect(found.path)
        except ModelplugError as error:
            return attrs.evolve(result, trouble=str(error))
        if info.kind in _NOT_MODELS:
            return attrs.evolve(result, trouble=_NOT_MODELS[info.kind])
        return self._named(attrs.evolve(result, info=info), found, info, real)

    def _named(self, result: Scanned, found: Found, info: ModelInfo, real: Path) -> Scanned:
        if self._add:
            for model, before in self._history.saw(info):
                self._known[model.name] = model
                result = attrs.evolve(result, name=model.name, change="moved", before=before)
        if result.change:
            return result
        names = [model.name for model in self._known.values() if _real(model.path) == real]
        mine = found.source != ollama.SOURCE or found.name in names
        if names and mine:
            return attrs.evolve(result, name=found.name if found.name in names else names[0])
        if not self._add:
            return result
        name = self._name_for(found)
        model = self._history.add_model(name, found.path, info, source=found.source)
        self._known[name] = model
        return attrs.evolve(result, name=name, change="added")

    def _name_for(self, found: Found) -> str:
        """The name it should have, unless that is taken; a later version of a model takes its place."""
        wanted = _usable(found.name)
        before = self._known.get(wanted)
        replaced = before is not None and before.source == found.source != "" and not _is_there(before)
        if replaced and wanted not in self._taken:
            return wanted
        return free_name(wanted, self._taken | set(self._known))


def _usable(name: str) -> str:
    """The name without what no name may hold: files are called all kinds of things."""
    text = _FORBIDDEN.sub("-", name.encode("utf-8", "replace").decode())
    return text.strip().lstrip("-") or "model"


def _is_there(model: KnownModel) -> bool:
    try:
        return model.path.exists()
    except OSError:
        return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
