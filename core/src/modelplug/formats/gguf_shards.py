"""Models split over several GGUF files: finding all of them and checking that they belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelFileError
from modelplug.formats.source import exists

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

    from modelplug.formats.gguf_header import GgufHeader

__all__ = ["SHARD_NAME", "check_shards", "shard_paths"]

SHARD_NAME: Final = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)


def shard_paths(path: Path) -> tuple[Path, ...]:
    """All shards of the model that `path` belongs to, in order; `path` alone if its name is not a shard's.

    Raises:
        ModelFileError: A shard is missing.
    """
    match = SHARD_NAME.match(path.name)
    if match is None or match["count"] == "00000":
        return (path,)
    count = int(match["count"])
    suffix = path.name[match.end("count") :]
    paths = []
    for number in range(1, count + 1):
        shard = path.with_name(f"{match['stem']}-{number:05d}-of-{match['count']}{suffix}")
        if not exists(shard):
            raise ModelFileError(
                f"shard {number} of {count} is missing: there is no {shard.name} beside {path.name}",
                path=shard,
                why="a model that is split over several files needs all of them in one directory",
                advice=f"Download {shard.name} into {path.parent}.",
            )
        paths.append(shard)
    return tuple(paths)


def check_shards(paths: tuple[Path, ...], headers: list[GgufHeader]) -> None:
    """Check that every shard is the one its name says and that together they are complete.

    Raises:
        ModelFileError: They do not belong together; the error names the file and the entry.
    """
    stated = _number(paths[0], headers[0], "split.count")
    if len(paths) == 1 and (stated is None or stated <= 1):
        return
    names: set[str] = set()
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        for key, expected in (("split.count", len(paths)), ("split.no", number)):
            value = _number(path, header, key)
            if value != expected:
                _mismatch(path, header, key, f"is {value} where {expected} is expected")
        for tensor in header.tensors:
            if tensor.name in names:
                _mismatch(path, header, "", f"holds tensor {tensor.name!r}, which an earlier shard has too")
            names.add(tensor.name)
    total = _number(paths[0], headers[0], "split.tensors.count")
    if total is not None and total != len(names):
        _mismatch(
            paths[0], headers[0], "split.tensors.count", f"is {total}, but the shards hold {len(names)}"
        )


def _number(path: Path, header: GgufHeader, key: str) -> int | None:
    value = header.entries.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        _mismatch(path, header, key, "is not a whole number")
    return value


def _mismatch(path: Path, header: GgufHeader, key: str, what: str) -> NoReturn:
    subject = f"{key!r} of {path.name}" if key else path.name
    raise ModelFileError(
        f"the shards do not belong together: {subject} {what}",
        path=path,
        offset=header.places.get(key),
        why="a shard was renamed or comes from another model",
        advice="Keep the names the shards were published under, and download any that differ again.",
    )
