"""LM Studio: `PUBLISHER/MODEL/FILE.gguf` below the models folder of its home, or of its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.history.places.machine import Found, Machine, distinct, models_in, name_of, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SOURCE", "find", "folders"]

SOURCE = "lmstudio"


def folders(machine: Machine) -> list[Path]:
    """The models folders of every home that LM Studio has had."""
    homes = distinct(
        [_pointed_to(machine), machine.home / ".lmstudio", machine.home / ".cache" / "lm-studio"]
    )
    settings = [*(home / "settings.json" for home in homes), machine.config / "LM Studio" / "settings.json"]
    chosen = [_chosen(machine, file) for file in settings]
    return distinct([*chosen, *(home / "models" for home in homes)])


def find(machine: Machine) -> Iterator[Found]:
    """The models in them."""
    for folder in folders(machine):
        for path in models_in(folder):
            yield Found(path=path, name=name_of(path), source=SOURCE)


def _pointed_to(machine: Machine) -> Path | None:
    """The home that the file `.lmstudio-home-pointer` names, in its first line."""
    try:
        lines = (machine.home / ".lmstudio-home-pointer").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return machine.expanded(lines[0].strip()) if lines and lines[0].strip() else None


def _chosen(machine: Machine, settings: Path) -> Path | None:
    folder = read_object(settings).get("downloadsFolder")
    return machine.expanded(folder) if isinstance(folder, str) and folder else None
