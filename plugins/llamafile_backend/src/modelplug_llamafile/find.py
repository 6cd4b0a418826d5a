"""Finds a llamafile program on this machine, without running anything."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Program", "command_of", "examine", "find_program", "is_portable_executable"]

# `llamafile`, `llamafile-0.9.3`, `llamafile.exe`; not its sister programs such as `llamafile-bench`.
_NAME = re.compile(r"llamafile(?:-v?(\d+(?:\.\d+)*))?(?:\.exe|\.bin|\.com)?", re.IGNORECASE)
_WINDOWS_LIMIT = 4 * 1024**3
_PORTABLE_MAGIC = (b"MZqFpD", b"jartsr")


@attrs.frozen(kw_only=True)
class Program:
    """A file that looks like a llamafile program.

    Attributes:
        path: Where it is.
        version: As its name says; empty if it does not.
        problem: Why it can't be run; empty if nothing speaks against it.
        remedy: What to type about that.
    """

    path: Path
    version: str = ""
    problem: str = ""
    remedy: str = ""


def find_program(configured: str | None, environ: Mapping[str, str], directory: Path) -> Program | None:
    """The llamafile program to use, or None if there is none.

    The first of: the one in the settings (or a problem with it, and then no other), the exact names on PATH,
    names with a version on PATH (highest first), the usual places.

    Args:
        configured: The setting `executable`.
        environ: The environment; PATH and the user's directories are read.
        directory: The current directory.
    """
    if configured:
        path = Path(configured).expanduser()
        return examine(path if path.is_absolute() or len(path.parts) > 1 else _on_path(path, environ))
    broken: Program | None = None
    for path in _candidates(environ, directory):
        program = examine(path)
        if not program.problem:
            return program
        broken = broken or program
    return broken


def examine(path: Path) -> Program:
    """What can be said of one file without running it."""
    match = _NAME.fullmatch(path.name)
    version = (match.group(1) or "") if match else ""
    if not path.is_file():
        return Program(
            path=path,
            version=version,
            problem=f"there is no file {path}",
            remedy="modelplug config set backends.llamafile.executable PATH",
        )
    if os.name == "nt" and path.stat().st_size > _WINDOWS_LIMIT:
        return Program(
            path=path,
            version=version,
            problem="Windows runs no program larger than 4 GiB",
            remedy="Install the small llamafile program, which can load the weights inside this file.",
        )
    if os.name != "nt" and not os.access(path, os.X_OK):
        return Program(
            path=path,
            version=version,
            problem=f"{path} is not marked as executable",
            remedy=f"chmod +x '{path}'",
        )
    return Program(path=path, version=version)


def command_of(program: Path) -> list[str]:
    """How to start the program: a portable executable through the shell, anything else directly.

    To the kernel, a portable executable is a file in no format it knows ("exec format error") or, where Wine
    has registered itself, a Windows program. To a shell it is a script that starts the right loader.
    """
    if os.name != "nt" and is_portable_executable(program):
        return ["/bin/sh", str(program)]
    return [str(program)]


def is_portable_executable(path: Path) -> bool:
    """Whether the file is in the format that llamafiles are made of."""
    try:
        with path.open("rb") as file:
            return file.read(6) in _PORTABLE_MAGIC
    except OSError:
        return False


def _on_path(name: Path, environ: Mapping[str, str]) -> Path:
    for folder in _path_folders(environ):
        if (folder / name).is_file():
            return folder / name
    return name


def _path_folders(environ: Mapping[str, str]) -> list[Path]:
    folders = [folder for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    return [Path(folder) for folder in dict.fromkeys(folders)]


def _candidates(environ: Mapping[str, str], directory: Path) -> Iterator[Path]:
    on_path = _path_folders(environ)
    for folder in on_path:
        for name in ("llamafile", "llamafile.exe", "llamafile.bin"):
            if (folder / name).is_file():
                yield folder / name
    yield from _by_version(path for folder in on_path for path in _programs_in(folder))
    for place in _usual_places(environ):
        if _NAME.fullmatch(place.name) and place.is_file():
            yield place
        yield from _by_version(_programs_in(place))
    # Whoever can write here could have us run anything: only a directory and a file of our own will do.
    for place in (directory / "executables", directory):
        if _private(place):
            yield from _by_version(path for path in _programs_in(place) if _private(path))


def _usual_places(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    if os.name == "nt":
        roots = [environ.get(name) for name in ("LOCALAPPDATA", "ProgramFiles", "ProgramFiles(x86)")]
        return [Path(root) / "llamafile" for root in roots if root] + [home / "llamafile"]
    places = [home / ".local" / "bin", home / "bin", home / "llamafile", home / ".llamafile" / "bin"]
    places += [Path("/usr/local/bin"), Path("/usr/bin"), Path("/opt/llamafile")]
    if sys.platform == "darwin":
        places += [Path("/opt/homebrew/bin"), home / "Applications", Path("/Applications")]
    return places


def _programs_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if _NAME.fullmatch(e.name) and e.is_file()]
    except OSError:
        return []  # no such directory, or not ours to read: nothing to be found there


def _by_version(paths: Iterator[Path] | list[Path]) -> list[Path]:
    def rank(path: Path) -> tuple[bool, list[int]]:
        match = _NAME.fullmatch(path.name)
        numbers = (match.group(1) or "") if match else ""
        return not numbers, [int(part) for part in numbers.split(".") if part]

    return sorted(paths, key=rank, reverse=True)


def _private(path: Path) -> bool:
    """Whether only this user (or the administrator) can have put the file there."""
    if os.name == "nt":
        return True
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid in (0, os.getuid()) and not status.st_mode & 0o022
