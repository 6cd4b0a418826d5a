"""Reads `tokenizer.model`, the protocol buffer in which SentencePiece keeps a vocabulary."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from modelplug.errors import ConversionRefusedError

__all__ = ["Piece", "SentencePieceModel", "read_sentencepiece"]

_LARGEST: Final = 256 << 20
# The numbers of the fields that matter, from SentencePiece's published schema.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_MODEL_TYPE, _UNKNOWN_ID, _START_ID, _END_ID, _PADDING_ID = 3, 40, 41, 42, 43
_ADD_DUMMY_PREFIX: Final = 3
_BPE: Final = 2


@attrs.frozen
class Piece:
    """One entry of the vocabulary.

    Attributes:
        text: Its text.
        score: The higher, the earlier it is joined.
        type: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte; GGUF uses the same numbers.
    """

    text: str
    score: float
    type: int


@attrs.frozen(kw_only=True)
class SentencePieceModel:
    """What the file holds.

    Attributes:
        pieces: The vocabulary, by token id.
        space_prefix: Whether a space is put before a text.
        unknown: Token id for what has no token.
        start: Token id of the beginning of a text; None if there is none.
        end: Token id of the end of a text; None if there is none.
        padding: Token id of padding; None if there is none.
    """

    pieces: tuple[Piece, ...]
    space_prefix: bool
    unknown: int
    start: int | None
    end: int | None
    padding: int | None


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read the file.

    Raises:
        ConversionRefusedError: It is damaged, or joins its pieces by another rule than llama.cpp does.
    """
    if path.stat().st_size > _LARGEST:
        raise _refused(path, f"it has more than {_LARGEST >> 20} MiB")
    pieces: list[Piece] = []
    numbers: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    try:
        for field, value in _fields(path.read_bytes()):
            if field == _PIECES and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif field == _TRAINER and isinstance(value, bytes):
                numbers = {number: item for number, item in _fields(value) if isinstance(item, int)}
            elif field == _NORMALIZER and isinstance(value, bytes):
                normalizer = {number: item for number, item in _fields(value) if isinstance(item, int)}
    except (ValueError, IndexError, struct.error) as error:
        raise _refused(path, f"it is no SentencePiece model ({error})") from error
    if not pieces:
        raise _refused(path, "it holds no vocabulary")
    if numbers.get(_MODEL_TYPE, 1) != _BPE:
        raise _refused(path, "it is no BPE model, the only kind whose rule llama.cpp has under this name")
    return SentencePieceModel(
        pieces=tuple(pieces),
        space_prefix=bool(normalizer.get(_ADD_DUMMY_PREFIX, 1)),
        unknown=_signed(numbers.get(_UNKNOWN_ID, 0)) or 0,
        start=_signed(numbers.get(_START_ID, 1)),
        end=_signed(numbers.get(_END_ID, 2)),
        padding=_signed(numbers.get(_PADDING_ID, (1 << 64) - 1)),
    )


def _refused(path: Path, why: str) -> ConversionRefusedError:
    return ConversionRefusedError(
        f"the vocabulary in {path.name} can't be converted",
        path=path,
        why=why,
        advice="Download the tokenizer's files again, or a GGUF file of the model.",
    )


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, 1
    for field, value in _fields(data):
        if field == _PIECE_TEXT and isinstance(value, bytes):
            text = value.decode()
        elif field == _PIECE_SCORE and isinstance(value, float):
            score = value
        elif field == _PIECE_TYPE and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _signed(value: int) -> int | None:
    """A token id; -1, which is written as an unsigned number of 64 bits, says that there is none."""
    return None if value >= 1 << 31 else value


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message, each with its number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
        elif kind == 5:
            yield key >> 3, struct.unpack_from("<f", data, at)[0]
            at += 4
        elif kind in (1, 2):
            length, at = (8, at) if kind == 1 else _varint(data, at)
            if at + length > len(data):
                msg = f"a field ends after the file, at byte {at}"
                raise ValueError(msg)
            yield key >> 3, data[at : at + length]
            at += length
        else:
            msg = f"there is a field of the unknown kind {kind} before byte {at}"
            raise ValueError(msg)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    msg = f"a number of more than 64 bits ends at byte {at}"
    raise ValueError(msg)
