"""Directories: which model a directory is, or holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ModelFileError, NotAModelError
from modelplug.formats.gguf_shards import SHARD_NAME
from modelplug.formats.inspection import inspect_file
from modelplug.formats.source import is_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import NoReturn

    from modelplug.formats.model_info import ModelInfo

__all__ = ["inspect_directory"]

_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".llamafile")
_MAX_LISTED: Final = 8
_UNFINISHED: Final = (".part", ".incomplete", ".crdownload", ".aria2")


def inspect_directory(path: Path, extra: Callable[[Path], ModelInfo | None] | None = None) -> ModelInfo:
    """Inspect the model in a directory.

    Args:
        path: A model directory, a Hugging Face cache directory, or a directory that holds one model file.
        extra: As for `inspect`.

    Returns:
        What its files say; `path` in the record is the directory.

    Raises:
        NotAModelError: It holds no model.
        ModelFileError: It holds several, or the one it holds is damaged.
    """
    try:
        directory = _snapshot(path)
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        raise ModelFileError(
            f"can't list {path}", path=path, why=str(error), advice="Check the directory's permissions."
        ) from error
    if "adapter_config.json" in names:
        from modelplug.formats.adapters import inspect_adapter

        return inspect_adapter(path, directory)
    models = _gguf_models(names)
    if "config.json" in names and (not models or _has_weights(names)):
        from modelplug.formats.huggingface import inspect_huggingface

        return inspect_huggingface(path, directory)
    models = models or [name for name in names if name.lower().endswith(_WEIGHTS)]
    if len(models) == 1:
        return attrs.evolve(inspect_file(directory / models[0], extra), path=path)
    if models:
        _refuse_several(path, models)
    info = extra(path) if extra is not None else None
    if info is None:
        _refuse_empty(path, names)
    return info


def _snapshot(path: Path) -> Path:
    """The directory itself, or for a repository in the Hugging Face cache its current snapshot."""
    snapshots = path / "snapshots"
    if not path.name.startswith("models--") or not is_directory(snapshots):
        return path
    reference = path / "refs" / "main"
    if reference.is_file() and reference.stat().st_size <= 256:
        current = snapshots / reference.read_text("utf-8", "replace").strip()
        if current.is_dir() and current.parent == snapshots:
            return current
    found = sorted(
        (entry for entry in snapshots.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime
    )
    if not found:
        raise NotAModelError(
            f"{path.name} holds no snapshot",
            path=path,
            why="a download into the Hugging Face cache was interrupted",
            advice="Download the model again.",
        )
    return found[-1]


def _gguf_models(names: list[str]) -> list[str]:
    """The GGUF models: one name for a set of shards, and no projectors, which only accompany a model."""
    files = [name for name in names if name.lower().endswith(".gguf")]
    firsts = [
        name for name in files if (match := SHARD_NAME.match(name)) is None or match["number"] == "00001"
    ]
    if not firsts and files:
        return files[:1]  # shards without their first: let its absence be reported
    models = [name for name in firsts if "mmproj" not in name.lower()]
    return models or firsts


def _has_weights(names: list[str]) -> bool:
    return any(
        name.endswith((".safetensors", ".index.json")) or name.startswith("pytorch_model") for name in names
    )


def _refuse_several(path: Path, models: list[str]) -> NoReturn:
    shown = ", ".join(models[:_MAX_LISTED]) + (", ..." if len(models) > _MAX_LISTED else "")
    raise ModelFileError(
        f"{path.name} holds {len(models)} models",
        path=path,
        why=f"found {shown}",
        advice=f"Give the path of one of them, for example {path / models[0]}",
    )


def _refuse_empty(path: Path, names: list[str]) -> NoReturn:
    cached = [name for name in names if name.startswith("models--")]
    unfinished = [name for name in names if name.lower().endswith(_UNFINISHED)]
    if cached:
        why = f"it is a Hugging Face cache of {len(cached)} models, for example {cached[0]}"
        advice = f"Give one of them: {path / cached[0]}"
    elif unfinished:
        why = f"it holds an unfinished download: {unfinished[0]}"
        advice = "Let the download finish, or start it again."
    elif not names:
        why, advice = "it is empty", "Give the path of a model file or of a model directory."
    else:
        why = "there is neither a GGUF file nor config.json with weights in it"
        advice = "Give the path of a model file or of a model directory."
    raise NotAModelError(f"{path.name or path} holds no model", path=path, why=why, advice=advice)
