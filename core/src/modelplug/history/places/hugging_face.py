"""The Hugging Face cache: `models--ORG--NAME/snapshots/REVISION`, whose files are links into `blobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.history.places.machine import Found, Machine, distinct, models_in, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SOURCE", "find", "folders", "models_in_cache"]

SOURCE = "huggingface"
_PREFIX = "models--"


def folders(machine: Machine) -> list[Path]:
    """Where the cache is, by the variables that the Hugging Face libraries obey."""
    named = machine.from_environment("HF_HUB_CACHE") or machine.from_environment("HUGGINGFACE_HUB_CACHE")
    # The libraries use ~/.cache on every system.
    cache = machine.from_environment("XDG_CACHE_HOME") or machine.home / ".cache"
    home = machine.from_environment("HF_HOME") or cache / "huggingface"
    return distinct([named or home / "hub", machine.from_environment("TRANSFORMERS_CACHE")])


def find(machine: Machine) -> Iterator[Found]:
    """The models in the cache, of each the revision that its main branch was at when it was fetched."""
    for folder in folders(machine):
        yield from models_in_cache(folder, SOURCE)


def models_in_cache(folder: Path, source: str) -> Iterator[Found]:
    """The models in a folder that is laid out like the cache.

    Args:
        folder: The folder that holds `models--ORG--NAME`.
        source: The program it belongs to.
    """
    for repository in sorted(folder.glob(f"{_PREFIX}*")):
        snapshot = _snapshot(repository)
        if snapshot is None:
            continue
        for path in models_in(snapshot):
            name = repository.name.split("--")[-1] if path == snapshot else name_of(path)
            yield Found(path=path, name=name, source=source)


def _snapshot(repository: Path) -> Path | None:
    """The folder of the revision to use: that of `main`, or else the newest."""
    snapshots = repository / "snapshots"
    try:
        revision = (repository / "refs" / "main").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        # It was fetched by the name of a revision, so no branch is known.
        revision = ""
    if revision and "/" not in revision and (snapshots / revision).is_dir():
        return snapshots / revision
    try:
        return max((path for path in snapshots.iterdir() if path.is_dir()), key=_age, default=None)
    except OSError:
        return None


def _age(path: Path) -> float:
    return path.stat().st_mtime
