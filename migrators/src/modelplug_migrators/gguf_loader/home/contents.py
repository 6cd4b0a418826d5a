"""What the folder of an installation holds, as far as its names and configurations say."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.migration.candidates import Candidate
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.detection import detect_config
from modelplug_migrators.gguf_loader.home.locations import BACKUP_NAME, HOME_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.steps import Detection

__all__ = ["CONFIG_NAMES", "ConfigFile", "HomeContents", "is_secret"]

CONFIG_NAMES = ("app_config.json", "settings.json", "preferences.json", "backend_config.json", "config.json")
"""What configurations are called, those that say least of a backend first."""

_CONFIG_FOLDERS = ("", "config", "settings")
_TEMPLATE = "config_template.json"
_CACHE_NAMES = ("model_performance_cache.json", "cache/model_performance_cache.json")
_MODEL_ENDINGS = frozenset({".gguf", ".ggml", ".llamafile", ".safetensors", ".bin", ".pt", ".pth"})
_OWN_SIGNS = ("history.sqlite3", "migrations")
_BACKUP_SIGNS = ("current_setup.txt", "registry.reg")
_SECRET_NAMES = frozenset({"secure", "storage.key", "token.json", "credentials.json"})
_MOST_MODELS = 10_000


def is_secret(path: Path) -> bool:
    """Whether a file or folder holds passwords or tokens, by its name."""
    name = path.name.lower()
    return name in _SECRET_NAMES or name.endswith("_tokens.enc") or name.startswith("email_config")


@attrs.frozen
class ConfigFile:
    """A configuration of an installation.

    Attributes:
        path: The file.
        seen: What its content says it is.
    """

    path: Path
    seen: Detection


class HomeContents:
    """What a folder holds; looked up when first asked for.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def has_known_name(self) -> bool:
        """Whether the folder is called as installations are."""
        return self.folder.name.lower() in HOME_NAMES

    @property
    def is_own(self) -> bool:
        """Whether it is modelplug's own home."""
        return any((self.folder / name).exists() for name in _OWN_SIGNS)

    @cached_property
    def is_backup(self) -> bool:
        """Whether it is a backup made as the guide says, and no live installation."""
        named = self.folder.name.lower() in {BACKUP_NAME, *(f"{name}-backup" for name in HOME_NAMES)}
        signed = any((self.folder / name).is_file() for name in _BACKUP_SIGNS)
        return named or (signed and bool(self.configs or self.has_models))

    @property
    def configs(self) -> tuple[ConfigFile, ...]:
        """The configurations whose content is this family's; those that say least of a backend first."""
        return self._looked_at[0]

    @property
    def others(self) -> dict[Path, str]:
        """Files that are called like configurations and are none of this family -> what is wrong."""
        return self._looked_at[1]

    @cached_property
    def _looked_at(self) -> tuple[tuple[ConfigFile, ...], dict[Path, str]]:
        configs: list[ConfigFile] = []
        others: dict[Path, str] = {}
        for path in self._config_paths():
            try:
                seen = next(detect_config(Candidate(path)), None)
            except OSError as error:
                others[path] = f"it can't be read ({error.strerror or error})"
                continue
            if seen is None:
                others[path] = "nothing in it is a setting of these programs"
            elif seen.version != layouts.SIDE_FILE:
                configs.append(ConfigFile(path, seen))
        return tuple(configs), others

    def _config_paths(self) -> Iterator[Path]:
        for name in CONFIG_NAMES:
            for folder in _CONFIG_FOLDERS:
                path = self.folder / folder / name
                if path.is_file():
                    yield path
        for folder in (*_CONFIG_FOLDERS, "presets"):
            for path in sorted((self.folder / folder).glob("*.json")):
                is_preset = path.name.startswith("preset_")
                is_other = path.name.endswith(".config.json") and path.name not in CONFIG_NAMES
                if path.name != _TEMPLATE and (is_preset or is_other) and path.is_file():
                    yield path

    @cached_property
    def performance_cache(self) -> Path | None:
        """What the program noted of how fast models ran."""
        for name in _CACHE_NAMES:
            path = self.folder / name
            if path.is_file():
                seen = next(detect_config(Candidate(path)), None)
                if seen is not None and seen.version == layouts.SIDE_FILE:
                    return path
        return None

    @cached_property
    def has_models(self) -> bool:
        """Whether there are models in it."""
        return next(self.models(), None) is not None

    def models(self) -> Iterator[Path]:
        """The models in it: files, and folders that are one model with several files."""
        seen: set[Path] = set()
        for number, path in enumerate(_walk(self.folder / "models")):
            if number >= _MOST_MODELS:
                return
            model = _model_of(path)
            if model is not None and model not in seen:
                seen.add(model)
                yield model

    @cached_property
    def has_logs(self) -> bool:
        """Whether there are logs of the program in it."""
        return any((self.folder / "logs").glob("gguf_loader_*.log")) or (
            self.has_known_name and any((self.folder / "logs").glob("*.log"))
        )

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The folders in it that the program makes."""
        names = (
            "models",
            "logs",
            "recovery",
            "cache",
            "metadata_cache",
            "chats",
            "exports",
            "secure",
            "config",
        )
        return tuple(name for name in names if (self.folder / name).is_dir())


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, in order, without following links into other folders."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if not path.is_symlink():
                yield from _walk(path)
        else:
            yield path


def _model_of(path: Path) -> Path | None:
    """The model that a file is, or belongs to; None if it is none."""
    suffix = path.suffix.lower()
    if suffix not in _MODEL_ENDINGS:
        return None
    if "-of-" in path.stem and "-00001-of-" not in path.stem:
        return None
    if suffix in (".safetensors", ".bin", ".pt", ".pth") and (path.parent / "config.json").is_file():
        return path.parent
    return path
