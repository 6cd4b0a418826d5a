"""The models that an installation knows: where they are, and what they are now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.structure import shorten
from modelplug.history.records import RESERVED_NAMES
from modelplug.migration.account import Fate, KeyFate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.homes import HomeEditor
    from modelplug_migrators.gguf_loader.home.contents import HomeContents

__all__ = ["KnownPath", "ModelRegistry"]

_LISTS = ("recent_models", "models", "model_paths")
_FACTS = ("fingerprint", "format", "architecture", "quantization", "size", "parameters")


@attrs.define
class KnownPath:
    """A model that the installation knows.

    Attributes:
        path: Where it is, or was.
        sources: Which of its files name it.
        name: What it called the model; empty if it did not.
        info: What the model is; None if it is missing or can't be read.
        exists: Whether there is something at the path.
    """

    path: Path
    sources: list[str]
    name: str = ""
    info: ModelInfo | None = None
    exists: bool = False


class ModelRegistry:
    """Every model that an installation knows, each once.

    Args:
        folder: The installation.
        inspect: Looks at a model file.
    """

    def __init__(self, folder: Path, inspect: Callable[[str], ModelInfo | None]) -> None:
        self._folder = folder
        self._inspect = inspect
        self._models: dict[Path, KnownPath] = {}

    def __iter__(self) -> Iterator[KnownPath]:
        yield from self._models.values()

    def add(self, path: object, source: str, name: object = "") -> KnownPath | None:
        """Take in a path, if it is one.

        Args:
            path: What stands where a path belongs.
            source: The file or key it is from.
            name: What the model is called there.

        Returns:
            The model; None if there is no path.
        """
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            return None
        place = self._place(path)
        known = self._models.get(place)
        if known is None:
            known = KnownPath(path=place, sources=[], exists=_exists(place))
            known.info = self._inspect(str(place)) if known.exists else None
            self._models[place] = known
        if source not in known.sources:
            known.sources.append(source)
        if isinstance(name, str) and not known.name:
            known.name = name
        return known

    def _place(self, path: str) -> Path:
        try:
            place = Path(path.strip()).expanduser()
        except RuntimeError:  # ~name of somebody who is not known here
            place = Path(path.strip())
        return place if place.is_absolute() else self._folder / place

    def add_from_config(self, values: Mapping[str, Any], source: str) -> None:
        """Take in the paths that a migrated configuration holds."""
        self.add(values.get("model_path"), f"{source}: model_path")
        extras = values.get("extras")
        for name in _LISTS:
            listed = extras.get(name) if isinstance(extras, dict) else None
            for entry in listed if isinstance(listed, list) else []:
                self.add(entry, f"{source}: {name}")

    def add_from_folder(self, contents: HomeContents) -> None:
        """Take in the models in the folder of models."""
        for path in contents.models():
            self.add(str(path), "models/")

    def report(self, editor: HomeEditor) -> None:
        """Account for each model, and warn of those that are missing or can't be read."""
        for model in self:
            sources = ", ".join(model.sources)
            if not model.exists:
                editor.warn(f"the model {shorten(str(model.path), 200)} is missing ({sources})")
                why = f"there is no such file any more; {sources} named it"
                editor.account_for(KeyFate(key=f"model {model.path}", fate=Fate.DROPPED, why=why))
                continue
            if model.info is None:
                editor.warn(
                    f"the model {shorten(str(model.path), 200)} can't be read as one; its path is kept"
                )
            editor.account_for(
                KeyFate(
                    key=f"model {model.path}", fate=Fate.MAPPED, target="history", why=f"named in {sources}"
                )
            )

    def entries(self) -> list[dict[str, Any]]:
        """The models that exist, as the history takes them."""
        entries = []
        for model in self:
            if model.exists:
                facts = {name: getattr(model.info, name) for name in _FACTS} if model.info else {}
                given = {name: value for name, value in facts.items() if value}
                entries.append({"name": _name(model), "path": str(model.path), **given})
        return entries


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a path that is too long, or in a folder that can't be entered
        return False


def _name(model: KnownPath) -> str:
    """What to call the model on the command line."""
    wanted = model.name or (model.path.name if model.path.is_dir() else model.path.stem)
    name = re.sub(r"[/\\\0\r\n]+", "-", wanted).strip().lstrip("-").strip()
    return name if name and name not in RESERVED_NAMES else f"model-{name}".rstrip("-")
