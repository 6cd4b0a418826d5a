"""The files that programs stand in: Python files, notebooks, and fenced blocks in Markdown.

Each gives one program, whatever parts it is made of, and puts a changed program back where it came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.files.parts import Part, PartedFile

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENDINGS", "Part", "PartedFile", "open_file"]


def _python(text: str) -> PartedFile:
    return PartedFile(text, [Part(0, len(text), text)])


def _notebook(text: str) -> PartedFile:
    from modelplug_migrators.resnet_bk.source.files.notebook import Notebook

    return Notebook(text)


def _markdown(text: str) -> PartedFile:
    from modelplug_migrators.resnet_bk.source.files.markdown import Markdown

    return Markdown(text)


ENDINGS: dict[str, Callable[[str], PartedFile]] = {
    ".py": _python,
    ".pyi": _python,
    ".ipynb": _notebook,
    ".md": _markdown,
    ".markdown": _markdown,
}
"""Ending of a file's name -> what opens it."""


def open_file(path: Path, text: str) -> PartedFile:
    """The programs in a file.

    Args:
        path: The file, of whose name the ending counts; any other than those in `ENDINGS` is read as Python.
        text: What is in it.

    Raises:
        Unreadable: It is not what its name says.
    """
    return ENDINGS.get(path.suffix.lower(), _python)(text)
