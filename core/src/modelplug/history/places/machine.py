"""What the places of models depend on, and what all of them are searched with."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Found", "Machine", "distinct", "models_in", "name_of", "read_object"]

ENDINGS = frozenset({".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".pth", ".llamafile"})
_LATER_SHARD = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.")
_FIRST_SHARD = re.compile(r"-00001-of-\d{5}$")
_LARGEST_TEXT = 4 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Machine:
    """A user's home on one kind of system.

    Attributes:
        home: The user's folder.
        environ: The environment variables.
        platform: As `sys.platform` spells it.
        root: Where absolute paths of the system begin.
    """

    home: Path
    environ: Mapping[str, str]
    platform: str = sys.platform
    root: Path = Path("/")

    @classmethod
    def current(cls, environ: Mapping[str, str] | None = None) -> Machine:
        """This machine, and the user who runs this program."""
        return cls(home=Path.home(), environ=os.environ if environ is None else environ)

    def from_environment(self, name: str) -> Path | None:
        """The path in an environment variable, `~` expanded; None if it is not set."""
        value = self.environ.get(name)
        return self.expanded(value) if value else None

    def expanded(self, text: str) -> Path:
        """A path as people write it, with `~` for their folder."""
        if text == "~" or text.startswith(("~/", "~\\")):
            return self.home / text[2:]
        return Path(text)

    @property
    def config(self) -> Path:
        """The folder in which programs keep settings."""
        return self._usual("XDG_CONFIG_HOME", ".config", "Library/Application Support", "APPDATA", "Roaming")

    @property
    def data(self) -> Path:
        """The folder in which programs keep data of one machine."""
        return self._usual(
            "XDG_DATA_HOME", ".local/share", "Library/Application Support", "LOCALAPPDATA", "Local"
        )

    @property
    def cache(self) -> Path:
        """The folder in which programs keep what they can fetch again."""
        return self._usual("XDG_CACHE_HOME", ".cache", "Library/Caches", "LOCALAPPDATA", "Local")

    def _usual(self, variable: str, unix: str, apple: str, windows_variable: str, windows: str) -> Path:
        if self.platform == "win32":
            return self.from_environment(windows_variable) or self.home / "AppData" / windows
        if self.platform == "darwin":
            return self.home / apple
        return self.from_environment(variable) or self.home / unix


@attrs.frozen(kw_only=True)
class Found:
    """What may be a model, before anything of it was read.

    Attributes:
        path: Its file or directory.
        name: What it should be called.
        source: The program in whose folder it is; empty if the user named the folder.
        trouble: Why it can't be one, if that is known already.
    """

    path: Path
    name: str
    source: str = ""
    trouble: str = ""


def models_in(folder: Path) -> Iterator[Path]:
    """Files and folders that may be models; a Hugging Face folder counts as one, and is not entered.

    Later shards and what lies in hidden folders is left out. Links are followed, and no folder twice.

    Args:
        folder: Where to look; nothing is found in one that is not there.
    """
    yield from _models_in(folder, set())


def _models_in(folder: Path, visited: set[Path]) -> Iterator[Path]:
    real = Path(os.path.realpath(folder))
    if real in visited:
        return
    visited.add(real)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        # It is not there, or not ours to look into.
        return
    files = [entry for entry in entries if entry.is_file()]
    weights = [entry for entry in files if entry.suffix.lower() in ENDINGS]
    if any(entry.name == "config.json" for entry in files) and any(_is_torch(entry) for entry in weights):
        yield folder
        weights = [entry for entry in weights if not _is_torch(entry)]
    yield from (entry for entry in weights if not _LATER_SHARD.search(entry.name))
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _models_in(entry, visited)


def _is_torch(path: Path) -> bool:
    return path.suffix.lower() != ".gguf"


def name_of(path: Path) -> str:
    """What a model is called by its file or folder.

    Args:
        path: It.
    """
    base = path.stem if path.suffix.lower() in ENDINGS else path.name
    return _FIRST_SHARD.sub("", base).strip().lstrip("-") or "model"


def distinct(folders: list[Path | None]) -> list[Path]:
    """The folders without those that are not known, each once."""
    return list(dict.fromkeys(folder for folder in folders if folder is not None))


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of another program; empty if it can't be read as one.

    Args:
        path: The file.
    """
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        # Another program's file: what can't be read there tells nothing.
        return {}
    return found if isinstance(found, dict) else {}
