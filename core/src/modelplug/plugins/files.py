"""Small JSON files: read forgivingly, written atomically."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["locked", "read_object", "set_aside", "write_object"]


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object in `path` and an empty text, or an empty object and why it can't be read.

    A file that does not exist is an empty object, and no fault.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, error.strerror or str(error)
    except ValueError as error:
        return {}, f"it is not JSON: {error}"
    if not isinstance(value, dict):
        return {}, f"it holds {type(value).__name__}, not an object"
    return value, ""


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Replace `path` by `value` as JSON, so that a reader sees the old or the new file and nothing between.

    Raises:
        OSError: It can't be written; the old file is as it was.
    """
    # Imported here because most runs only read.
    from modelplug.atomic import write_atomically

    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def set_aside(path: Path) -> Path:
    """Rename an unreadable file to the first free `NAME.broken-N`, and return that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing `path` meanwhile.

    Raises:
        OSError: The lock can't be made, or (as a `TimeoutError`) another process keeps it.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock"), timeout=10):
        yield
