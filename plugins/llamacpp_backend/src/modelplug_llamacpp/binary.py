"""What can be read off llama.cpp's library without running it."""

from __future__ import annotations

import mmap
from pathlib import Path

from xllamacpp import xllamacpp as native

__all__ = ["knows_architecture"]


def knows_architecture(name: str) -> bool:
    """Whether the library can know an architecture: its name stands in it as a C string.

    A false answer is certain. A true one is not: the string may serve another purpose.

    Args:
        name: The value of `general.architecture`.
    """
    with (
        Path(native.__file__).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code,
    ):
        return code.find(name.encode() + b"\0") >= 0
