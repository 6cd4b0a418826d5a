"""Where modelplug keeps its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["Paths"]


@attrs.frozen(kw_only=True)
class Paths:
    """The directories of one user. None of them is created before something is written into it.

    Attributes:
        config: Settings (`config.json`).
        data: What should be kept: the history database.
        cache: What can be measured or found again.
        logs: Log files.
    """

    config: Path
    data: Path
    cache: Path
    logs: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Paths:
        """The directories `MODELPLUG_HOME` asks for, or the platform's usual ones.

        Args:
            environ: The environment to read; None reads the process's own.
        """
        environment = os.environ if environ is None else environ
        home = environment.get("MODELPLUG_HOME")
        if home:
            root = Path(home).expanduser().absolute()
            return cls(config=root, data=root, cache=root / "cache", logs=root / "logs")
        # Imported here because most start-ups under MODELPLUG_HOME or `--help` never need it.
        import platformdirs

        directories = platformdirs.PlatformDirs("modelplug", appauthor=False)
        return cls(
            config=Path(directories.user_config_dir),
            data=Path(directories.user_data_dir),
            cache=Path(directories.user_cache_dir),
            logs=Path(directories.user_log_dir),
        )

    @property
    def config_file(self) -> Path:
        """The settings file."""
        return self.config / "config.json"

    @property
    def history_file(self) -> Path:
        """The SQLite database of models and runs."""
        return self.data / "history.sqlite3"

    @property
    def workers(self) -> Path:
        """The folder with a file for each model that is loaded now."""
        return self.cache / "workers"
