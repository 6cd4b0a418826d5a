"""Where installations of the older programs usually are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BACKUP_NAME", "HOME_NAMES", "desktop_settings", "homes"]

HOME_NAMES = frozenset({".gguf-loader", ".ggufloader", ".llm-toolkit", "gguf-loader", "ggufloader"})
"""What the folders of installations are called, in lower case."""

BACKUP_NAME = ".gguf-loader-backup"
"""What the guide calls the folder for backups."""

_DESKTOP = ("GGUFLoader/FloatingChat.conf", "KiroDeveloper/LLM Toolkit.conf")


def homes(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """The folders where installations usually are, whether or not they exist.

    Args:
        home: The user's home folder.
        environ: The environment.
    """
    for name in (".gguf-loader", ".ggufloader", ".llm-toolkit"):
        yield home / name
    yield _config_folder(home, environ) / "gguf-loader"
    for variable in ("APPDATA", "LOCALAPPDATA"):
        if environ.get(variable):
            yield Path(environ[variable]) / "GGUFLoader"


def desktop_settings(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """The files in which the older programs kept the state of their windows, where there is no registry."""
    for name in _DESKTOP:
        path = _config_folder(home, environ) / name
        if path.is_file():
            yield path


def _config_folder(home: Path, environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    return given if given.is_absolute() else home / ".config"
