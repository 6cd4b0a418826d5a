"""From a path to a `ModelInfo`: recognise the format by its content and hand over to its module."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelFileError
from modelplug.formats.gguf_header import GGUF_MAGIC
from modelplug.formats.gguf_model import inspect_gguf
from modelplug.formats.not_a_model import refuse_partial_download, refuse_unknown
from modelplug.formats.source import ByteSource, is_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.formats.model_info import ModelInfo

__all__ = ["inspect", "inspect_file"]

_HEAD: Final = 4096
_EXECUTABLE: Final = re.compile(rb"\A(?:MZ|\x7fELF|jartsr='|#!)")
_PICKLE: Final = re.compile(rb"\A\x80[\x02-\x05]")


def inspect(
    path: str | os.PathLike[str], *, extra: Callable[[Path], ModelInfo | None] | None = None
) -> ModelInfo:
    """Tell what the model at `path` is, from its files alone and in time independent of their size.

    Args:
        path: A model file, any shard of one, a llamafile, a directory, or a Hugging Face cache directory.
            `~` is expanded.
        extra: Tried for what the core does not recognise (formats of plugins); returns None for "not mine".

    Returns:
        Everything the files say.

    Raises:
        ModelNotFoundError: There is nothing at `path`.
        NotAModelError: It is something else; the error says what, and what to do.
        TruncatedModelError: The file is cut off.
        UnsupportedFormatError: It is a model of a format or version that can't be read here.
        ModelFileError: It is damaged; the error names what, and at which offset.
    """
    absolute = _absolute(path)
    if is_directory(absolute):
        from modelplug.formats.directories import inspect_directory

        return inspect_directory(absolute, extra)
    return inspect_file(absolute, extra)


def _absolute(path: str | os.PathLike[str]) -> Path:
    # abspath, unlike resolve(), keeps links: in the Hugging Face cache only the link has the model's name
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  see above
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"{path!r} is not a usable path", path=Path(str(path)), why=str(error), advice="Check the path."
        ) from error


def inspect_file(path: Path, extra: Callable[[Path], ModelInfo | None] | None = None) -> ModelInfo:
    """Tell what the model in one file is; as `inspect`, for an absolute path that is no directory."""
    with ByteSource(path) as source:
        head = source.read_at(0, _HEAD)
        size = source.size
    refuse_partial_download(path)
    if head.startswith(GGUF_MAGIC):
        return inspect_gguf(path)
    info = _inspect_other(path, head)
    if info is None and extra is not None:
        info = extra(path)
    if info is None:
        refuse_unknown(path, head, size)
    return info


def _inspect_other(path: Path, head: bytes) -> ModelInfo | None:
    # Each format's module is imported only for a file that looks like it.
    if head[:4] in {b"lmgg", b"fmgg", b"tjgg", b"algg"}:
        from modelplug.formats.legacy_ggml import inspect_legacy_ggml

        return inspect_legacy_ggml(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < (1 << 40):
        from modelplug.formats.safetensors import inspect_safetensors

        return inspect_safetensors(path)
    if head.startswith(b"PK\x03\x04") or _PICKLE.match(head):
        from modelplug.formats.pytorch import inspect_pytorch

        return inspect_pytorch(path)
    if _EXECUTABLE.match(head):
        from modelplug.formats.llamafile import inspect_llamafile

        return inspect_llamafile(path)
    return None
