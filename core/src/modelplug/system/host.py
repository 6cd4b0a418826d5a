"""The machine as the probes see it: files, environment and programs, all replaceable in tests."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Host", "operating_system"]

READ_LIMIT = 8 * 1024 * 1024


def operating_system() -> str:
    """The name of the operating system: `linux`, `darwin`, `windows`, or what Python calls it."""
    # Through a variable, because a type checker would look at one platform only.
    name: str = sys.platform
    return {"win32": "windows"}.get(name, name)


def _module_exists(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        # A half-removed module (`__spec__` is None) can't be imported either.
        return False


def _interpreter() -> str | None:
    # A frozen application's executable is the application: starting it would not give us a Python.
    if getattr(sys, "frozen", False):
        return None
    return sys.executable or None


@attrs.frozen(kw_only=True)
class Host:
    """Where the probes look: pass another one to probe a recorded machine.

    Attributes:
        os: `linux`, `darwin` or `windows`.
        architecture: Lower case, for example `x86_64`.
        root: The directory that stands for `/`.
        environ: The environment variables.
        python: An interpreter for probes that run as a child; None if there is none.
        has_module: Whether a Python module can be imported here, without importing it.
    """

    os: str = attrs.field(factory=operating_system)
    architecture: str = "x86_64"
    root: Path = Path("/")
    environ: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ))
    python: str | None = attrs.field(factory=_interpreter)
    has_module: Callable[[str], bool] = _module_exists

    @classmethod
    def current(cls) -> Host:
        """This machine."""
        if hasattr(os, "uname"):
            machine = os.uname().machine
        else:
            import platform

            machine = platform.machine()
        return cls(architecture=machine.lower())

    def path(self, absolute: str) -> Path:
        """Where the file called `absolute` on this machine really lies."""
        return self.root / absolute.lstrip("/")

    def exists(self, absolute: str) -> bool:
        """Whether there is a file, directory or device of that name that we may look at."""
        try:
            return self.path(absolute).exists()
        except OSError:
            return False

    def read(self, absolute: str, limit: int = READ_LIMIT) -> str | None:
        """The text of a file, at most `limit` bytes of it; None if it can't be read."""
        try:
            with self.path(absolute).open("rb") as stream:
                return stream.read(limit).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def glob(self, directory: str, pattern: str) -> list[Path]:
        """The entries of a directory that match, sorted; an unreadable directory has none."""
        try:
            return sorted(self.path(directory).glob(pattern))
        except OSError:
            return []

    def which(self, program: str, *places: str) -> str | None:
        """The full path of a program on PATH, or else in one of the absolute `places`; None if nowhere."""
        found = shutil.which(program, path=self.environ.get("PATH", os.defpath))
        if found:
            return found
        for place in places:
            candidate = self.path(place)
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return str(candidate)
        return None
