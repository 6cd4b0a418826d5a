"""What of an installation goes into the backup: copies, and references to what is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.gguf_loader.home.contents import is_secret
from modelplug_migrators.gguf_loader.home.locations import BACKUP_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug.migration.homes import HomeEditor
    from modelplug_migrators.gguf_loader.home.contents import HomeContents

__all__ = ["plan_backup"]

_FOLDERS = (
    "logs",
    "recovery",
    "metadata_cache",
    "chats",
    "exports",
    "addons",
    "presets",
    "config",
    "settings",
    "secure",
)
_BASELINE = "baseline_performance.json"
_ENDINGS = (".json", ".txt", ".reg", ".conf", ".ini")
_LARGEST_CACHE_FILE = 1 << 20


def plan_backup(editor: HomeEditor, contents: HomeContents, *, copy_models: bool) -> None:
    """Plan what is copied into the backup, and what is only recorded there.

    Args:
        editor: The installation.
        contents: What it holds.
        copy_models: Whether models are copied, and not only recorded with their size and content's hash.
    """
    folder = contents.folder
    editor.copies += _files(folder)
    editor.copies += [folder / name for name in _FOLDERS if (folder / name).is_dir()]
    baseline = folder.parent / BACKUP_NAME / _BASELINE
    if baseline.is_file() and baseline.parent != folder:
        editor.copies.append(baseline)
    models = list(_model_files(contents))
    (editor.copies if copy_models else editor.references).extend(models)
    editor.copies += _notes_beside(models)


def _files(folder: Path) -> Iterator[Path]:
    """The files of the installation itself, and what its caches hold of use."""
    for path in sorted(folder.iterdir()):
        secret = is_secret(path) and path.name not in _FOLDERS
        if secret or (path.is_file() and path.suffix.lower() in _ENDINGS):
            yield path
    for path in sorted((folder / "cache").glob("*.json")):
        if path.is_file() and path.stat().st_size <= _LARGEST_CACHE_FILE:
            yield path


def _model_files(contents: HomeContents) -> Iterator[Path]:
    """Every file of the models in the installation, all parts of those that have several."""
    for model in contents.models():
        if model.is_dir():
            yield from sorted(path for path in model.iterdir() if path.is_file())
        elif "-00001-of-" in model.stem:
            start, _, end = model.name.partition("-00001-of-")
            parts = (path for path in model.parent.iterdir() if path.name.startswith(start))
            yield from sorted(path for path in parts if path.name.endswith(f"-of-{end}"))
        else:
            yield model


def _notes_beside(models: list[Path]) -> Iterator[Path]:
    for path in models:
        for name in (f"{path.name}.meta.json", f"{path.stem}.meta.json"):
            note = path.with_name(name)
            if note.is_file():
                yield note
