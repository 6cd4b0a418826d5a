"""The index of weights that are split over several files: which files there must be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelFileError
from modelplug.formats.source import ByteSource, exists, file_size

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

__all__ = ["indexed_files"]

_MAX_INDEX: Final = 16 << 20
_MAX_FILES: Final = 4096
# One row of `weight_map`; a JSON parser would build the whole of a hostile index.
_ROW: Final = re.compile(rb':\s*"([^"\\\x00-\x1f]{1,255}\.(?:safetensors|bin))"')


def indexed_files(index: Path) -> list[Path]:
    """The files that an index such as `model.safetensors.index.json` names, all of them present.

    Args:
        index: The index file.

    Returns:
        The files in order of name.

    Raises:
        ModelFileError: The index is not usable, or a file is missing.
    """
    size = file_size(index)
    if size > _MAX_INDEX:
        _bad(index, f"it has {size} bytes (at most {_MAX_INDEX} are plausible)")
    with ByteSource(index) as source:
        text = source.read_at(0, size)
    names: set[bytes] = set()
    for row in _ROW.finditer(text):
        names.add(row[1])
        if len(names) > _MAX_FILES:
            _bad(index, f"it names more than {_MAX_FILES} files")
    if not names:
        _bad(index, "it names no weight files")
    files = []
    for raw in sorted(names):
        name = raw.decode("utf-8", "replace")
        if "/" in name or "\\" in name or name.startswith("."):
            _bad(index, f"it names {name!r}, which is not a plain file name")
        file = index.with_name(name)
        if not exists(file):
            raise ModelFileError(
                f"{name} is missing: {index.name} names {len(names)} files, and this one is not there",
                path=file,
                why="a model that is split over several files needs all of them in one directory",
                advice=f"Download {name} into {index.parent}.",
            )
        files.append(file)
    return files


def _bad(path: Path, what: str) -> NoReturn:
    raise ModelFileError(
        f"{path.name} is damaged: {what}",
        path=path,
        offset=0,
        advice="Download the file again from the model's repository.",
    )
