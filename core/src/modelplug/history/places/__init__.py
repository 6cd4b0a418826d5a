"""Where other programs keep models: each is found where it lies, and nothing is copied or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.history.places import gguf_loader, gpt4all, hugging_face, llama_cpp, lm_studio, ollama
from modelplug.history.places.machine import Found, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["PLACES", "Found", "Machine", "Place", "find_everywhere"]


@attrs.frozen(kw_only=True)
class Place:
    """A program that keeps models.

    Attributes:
        name: What records call it.
        title: What it is called.
        folders: The folders where it keeps models on a machine, there or not.
        find: The models in them.
    """

    name: str
    title: str
    folders: Callable[[Machine], list[Path]]
    find: Callable[[Machine], Iterator[Found]]


PLACES: tuple[Place, ...] = (
    Place(name=ollama.SOURCE, title="Ollama", folders=ollama.folders, find=ollama.find),
    Place(name=lm_studio.SOURCE, title="LM Studio", folders=lm_studio.folders, find=lm_studio.find),
    Place(
        name=hugging_face.SOURCE,
        title="the Hugging Face cache",
        folders=hugging_face.folders,
        find=hugging_face.find,
    ),
    Place(name=llama_cpp.SOURCE, title="llama.cpp's cache", folders=llama_cpp.folders, find=llama_cpp.find),
    Place(name=gpt4all.SOURCE, title="GPT4All", folders=gpt4all.folders, find=gpt4all.find),
    Place(name=gguf_loader.SOURCE, title="GGUF Loader", folders=gguf_loader.folders, find=gguf_loader.find),
)
"""Every program whose folders are known. The first one that brings a file gives it its name."""


def find_everywhere(machine: Machine) -> Iterator[Found]:
    """What may be models in the folders of every known program.

    Args:
        machine: Where to look.
    """
    for place in PLACES:
        yield from place.find(machine)
