"""Llamafiles: executables with a zip archive at their end that holds a GGUF model, stored uncompressed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import NotAModelError, UnsupportedFormatError
from modelplug.formats.gguf_model import inspect_gguf
from modelplug.formats.source import ByteSource
from modelplug.formats.zip_directory import (
    STORED,
    ZipMember,
    member_bytes,
    member_start,
    read_zip_directory,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

    from modelplug.formats.model_info import ModelInfo

__all__ = ["inspect_llamafile"]

_MAX_ARGUMENTS: Final = 64 << 10


def inspect_llamafile(path: Path) -> ModelInfo | None:
    """Inspect the model inside a llamafile.

    Args:
        path: The executable.

    Returns:
        What its GGUF member says, with `payload` and `payload_offset` set and the arguments it runs with in
        the metadata as `llamafile.args`; None if the executable holds no archive.

    Raises:
        NotAModelError: It is a llamafile without a model inside.
        UnsupportedFormatError: The model inside is compressed or encrypted.
        ModelFileError: The archive or the model is damaged or cut off.
    """
    with ByteSource(path) as source:
        members = read_zip_directory(source)
        if members is None:
            return None
        arguments = _arguments(source, members)
        member = _choose(members, arguments)
        if member is None:
            _refuse(path, members)
        if member.method != STORED or member.encrypted:
            raise UnsupportedFormatError(
                f"{path.name} holds {member.name!r} {'encrypted' if member.encrypted else 'compressed'}",
                path=path,
                offset=member.header_offset,
                why="a model inside an executable is used in place, which needs it stored as it is",
                advice="Build the llamafile with `zipalign -j0`, or unzip the model and use it by itself.",
            )
        start = member_start(source, member)
        size = source.size
    info = inspect_gguf(path, start=start, length=member.size, payload=member.name)
    metadata = {**info.metadata, "llamafile.args": arguments} if arguments else info.metadata
    return attrs.evolve(info, size=size, metadata=metadata)


def _arguments(source: ByteSource, members: list[ZipMember]) -> list[str]:
    for member in members:
        if PurePosixPath(member.name).name == ".args":
            content = member_bytes(source, member, _MAX_ARGUMENTS)
            return content.decode("utf-8", "replace").split() if content else []
    return []


def _choose(members: list[ZipMember], arguments: list[str]) -> ZipMember | None:
    """The member that `-m` names, or else the largest GGUF (a projector is smaller than its model)."""
    models = [member for member in members if member.name.lower().endswith(".gguf")]
    for flag, value in pairwise(arguments):
        if flag in {"-m", "--model"}:
            wanted = PurePosixPath(value).name
            for member in models:
                if PurePosixPath(member.name).name == wanted:
                    return member
    return max(models, key=lambda member: member.size, default=None)


def _refuse(path: Path, members: list[ZipMember]) -> NoReturn:
    if any("llama" in member.name.lower() or member.name == ".args" for member in members):
        raise NotAModelError(
            f"{path.name} is a llamafile without a model inside",
            path=path,
            why="it is the engine alone",
            advice="Give a GGUF file as the model; this executable can run it as a backend.",
        )
    raise NotAModelError(
        f"{path.name} is not a model: it is an executable",
        path=path,
        why="its archive holds no GGUF file",
        advice="Give the path of a model file.",
    )
