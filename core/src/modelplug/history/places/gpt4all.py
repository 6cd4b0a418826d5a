"""GPT4All: files in one folder, which its settings may have put elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelplug.history.places.machine import Found, Machine, distinct, models_in, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SOURCE", "find", "folders"]

SOURCE = "gpt4all"
_MODEL_PATH = re.compile(r'^modelPath\s*=\s*"?([^"\r\n]+?)"?\s*$', re.MULTILINE)
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{1,4}|.)")


def folders(machine: Machine) -> list[Path]:
    """The folder of its settings, the usual one, and that of the Python package."""
    usual = machine.data / "nomic.ai" / "GPT4All"
    return distinct([_chosen(machine), usual, machine.home / ".cache" / "gpt4all"])


def find(machine: Machine) -> Iterator[Found]:
    """The models in them."""
    for folder in folders(machine):
        for path in models_in(folder):
            yield Found(path=path, name=name_of(path), source=SOURCE)


def _chosen(machine: Machine) -> Path | None:
    # Qt keeps INI files in ~/.config on macOS too.
    config = machine.home / ".config" if machine.platform == "darwin" else machine.config
    try:
        text = (config / "nomic.ai" / "GPT4All.ini").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = _MODEL_PATH.search(text)
    return machine.expanded(_ESCAPED.sub(_unescaped, found[1])) if found else None


def _unescaped(found: re.Match[str]) -> str:
    """A character as Qt writes it: an x and its number after a backslash, or only a backslash before it."""
    text = found[1]
    return chr(int(text[1:], 16)) if text.startswith("x") and len(text) > 1 else text
