"""GGUF Loader and its successors: the folder `models` of each home, and those that their settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.history.places.machine import Found, Machine, distinct, models_in, name_of, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SOURCE", "find", "folders"]

SOURCE = "gguf-loader"
_HOMES = (".gguf-loader", ".ggufloader", ".llm-toolkit")
_SETTINGS = ("config.json", "app_config.json")
_FOLDER_KEYS = ("default_model_dir", "model_directory")


def folders(machine: Machine) -> list[Path]:
    """The models folders of every home there may be."""
    homes = [machine.home / name for name in _HOMES]
    homes += [machine.config / name for name in ("gguf-loader", "GGUFLoader")]
    named = [folder for home in homes for name in _SETTINGS for folder in _named(machine, home / name)]
    return distinct([*(home / "models" for home in homes), *named])


def find(machine: Machine) -> Iterator[Found]:
    """The models in them."""
    for folder in folders(machine):
        for path in models_in(folder):
            yield Found(path=path, name=name_of(path), source=SOURCE)


def _named(machine: Machine, settings: Path) -> Iterator[Path]:
    content = read_object(settings)
    paths: Any = content.get("paths")
    for values in (content, paths if isinstance(paths, dict) else {}):
        for key in _FOLDER_KEYS:
            value = values.get(key)
            if isinstance(value, str) and value:
                yield machine.expanded(value)
