"""A name for a model's content, whatever its path and times, cheap for a file of any size.

What goes into the hash, for every weight file in order: its size, every byte of its header (up to 32 MiB),
its last 64 KiB, and 16 blocks of 4 KiB spread evenly over the rest.

What that can and cannot tell apart: two files of different size or with any difference in the header
(metadata, vocabulary, chat template, tensor table) never share a fingerprint, short of a SHA-256 collision.
Two trainings or quantisations of one architecture differ in nearly all of their weights, so each of the 17
samples tells them apart by itself. An edit of a few weights in place, which leaves the size and the header
alone and misses every sample, is not noticed: the fingerprint identifies a model among the models one has, it
does not protect from forgery. It is a key for measurements, and never decides whether a file may be trusted.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.formats.source import ByteSource

__all__ = ["FingerprintBuilder", "fingerprint_of_bytes"]

_PIECE: Final = 64 << 10
_HEADER_LIMIT: Final = 32 << 20
_TAIL: Final = 64 << 10
_BLOCK: Final = 4 << 10
_BLOCKS: Final = 16


class FingerprintBuilder:
    """Collects the files of one model and gives its fingerprint."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"modelplug fingerprint 1\0")

    def add(self, source: ByteSource, header_bytes: int) -> None:
        """Take in one weight file.

        Args:
            source: Its bytes.
            header_bytes: How many bytes at its beginning are header.
        """
        self._hash.update(source.size.to_bytes(8, "little"))
        header_end = min(header_bytes, source.size, _HEADER_LIMIT)
        for offset in range(0, header_end, _PIECE):
            self._hash.update(source.read_at(offset, min(_PIECE, header_end - offset)))
        rest = source.size - header_end
        if rest <= _TAIL + _BLOCK * _BLOCKS:
            self._hash.update(source.read_at(header_end, rest))
            return
        spread = rest - _TAIL - _BLOCK
        for number in range(_BLOCKS):
            self._hash.update(source.read_at(header_end + spread * number // _BLOCKS, _BLOCK))
        self._hash.update(source.read_at(source.size - _TAIL, _TAIL))

    def add_bytes(self, data: bytes) -> None:
        """Take in a small file as a whole (a configuration)."""
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)

    def result(self) -> str:
        """The fingerprint: `sha256-sampled:` and 64 hexadecimal digits."""
        return f"sha256-sampled:{self._hash.hexdigest()}"


def fingerprint_of_bytes(parts: Iterable[bytes]) -> str:
    """The fingerprint of a model that consists of a few small texts only."""
    builder = FingerprintBuilder()
    for part in parts:
        builder.add_bytes(part)
    return builder.result()
