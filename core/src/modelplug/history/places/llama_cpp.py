"""llama.cpp's cache: `OWNER_REPOSITORY_FILE.gguf` in one folder, or laid out like the Hugging Face cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.history.places.hugging_face import models_in_cache
from modelplug.history.places.machine import Found, Machine, models_in, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SOURCE", "find", "folders"]

SOURCE = "llamacpp"


def folders(machine: Machine) -> list[Path]:
    """The cache: what its variable names, or the usual folder."""
    return [machine.from_environment("LLAMA_CACHE") or machine.cache / "llama.cpp"]


def find(machine: Machine) -> Iterator[Found]:
    """The models in it, by the names their files had where they came from."""
    for folder in folders(machine):
        beginnings = _beginnings(folder)
        for path in models_in(folder):
            # Versions of 2026 and later keep repositories as the Hugging Face libraries do.
            if not path.relative_to(folder).parts[0].startswith("models--"):
                name = name_of(path)
                beginning = next((text for text in beginnings if name.startswith(text)), "")
                yield Found(path=path, name=name[len(beginning) :] or name, source=SOURCE)
        yield from models_in_cache(folder, SOURCE)


def _beginnings(folder: Path) -> list[str]:
    """`OWNER_REPOSITORY_` of every repository that a file `manifest=OWNER=REPOSITORY=TAG.json` speaks of."""
    parts = (path.name.split("=") for path in folder.glob("manifest=*=*=*.json"))
    # A repository's name may begin with another's.
    return sorted({f"{owner}_{repository}_" for _, owner, repository, *_ in parts}, key=len, reverse=True)
