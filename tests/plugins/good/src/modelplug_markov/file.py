"""Reading and writing `.markov` files. The README describes the format."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from modelplug.errors import ModelFileError, TruncatedModelError, UnsupportedFormatError
from modelplug.formats.model_info import LayerSizes, ModelInfo
from modelplug_markov.chain import Chain
from modelplug_markov.tokenizer import FIRST_MERGE, Tokenizer

__all__ = ["inspect", "read", "write"]

MAGIC = b"MKVCHAIN"
VERSION = 1
PREFIX = struct.Struct("<8sII")
MAX_HEADER = 65536
# A payload that unpacks to more than this is an attack or a mistake, not a chain.
MAX_PAYLOAD = 1 << 30
COUNTS = ("order", "context_length", "vocabulary_size", "parameters", "payload_bytes")


def write(path: Path, name: str, tokenizer: Tokenizer, chain: Chain, *, context_length: int = 4096) -> None:
    """Write a model.

    Args:
        path: The file; replaced if it exists.
        name: The model's name.
        tokenizer: Its tokenizer.
        chain: Its chain.
        context_length: Tokens that prompt and output should have together.
    """
    counts = [
        {" ".join(map(str, context)): followers for context, followers in level.items()}
        for level in chain.counts
    ]
    payload = zlib.compress(json.dumps({"merges": tokenizer.merges, "counts": counts}).encode(), 9)
    header = {
        "name": name,
        "order": chain.order,
        "context_length": context_length,
        "vocabulary_size": tokenizer.vocabulary_size,
        "parameters": chain.parameters,
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    encoded = json.dumps(header).encode()
    path.write_bytes(PREFIX.pack(MAGIC, VERSION, len(encoded)) + encoded + payload)


def inspect(path: Path) -> ModelInfo | None:
    """Describe a model from its header; None if the file is something else.

    Raises:
        ModelFileError: It is a Markov model, and faulty.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
    header, start = _header(path)
    size = path.stat().st_size
    return ModelInfo(
        path=path.absolute(),
        format="markov",
        format_version=str(VERSION),
        name=header["name"],
        architecture="ngram",
        parameters=header["parameters"],
        context_length=header["context_length"],
        vocabulary_size=header["vocabulary_size"],
        tokenizer="bpe",
        size=size,
        files=(path.absolute(),),
        payload_offset=start,
        weights=LayerSizes(other=header["payload_bytes"]),
        fingerprint=f"markov-{header['payload_sha256']}",
        metadata=dict(header),
    )


def read(path: Path) -> tuple[dict[str, Any], Tokenizer, Chain]:
    """The header, tokenizer and chain of a model.

    Raises:
        ModelFileError: The file is faulty.
    """
    header, start = _header(path)
    with path.open("rb") as file:
        file.seek(start)
        payload = file.read(header["payload_bytes"])
    if hashlib.sha256(payload).hexdigest() != header["payload_sha256"]:
        raise ModelFileError(
            f"{path.name} is damaged",
            path=path,
            offset=start,
            why="the checksum of its payload is wrong",
            advice="Get the file again, or train it again with `modelplug markov train`.",
        )
    try:
        unpacker = zlib.decompressobj()
        content = json.loads(unpacker.decompress(payload, MAX_PAYLOAD))
        merges = [(int(left), int(right)) for left, right in content["merges"]]
        if any(not 0 <= part < FIRST_MERGE + number for number, pair in enumerate(merges) for part in pair):
            msg = "a merge names a token that does not exist yet"
            raise ValueError(msg)
        tokenizer = Tokenizer(merges)
        chain = Chain([_level(level) for level in content["counts"]], tokenizer.vocabulary_size)
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _faulty(path, start, f"its payload can't be understood: {error}") from error
    return header, tokenizer, chain


def _level(level: dict[str, dict[str, int]]) -> dict[tuple[int, ...], dict[int, int]]:
    return {
        tuple(int(token) for token in context.split()): {
            int(token): int(count) for token, count in followers.items()
        }
        for context, followers in level.items()
    }


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The checked header, and where the payload begins."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            raise _truncated(path, PREFIX.size, size)
        _, version, length = PREFIX.unpack(prefix)
        if version != VERSION:
            raise UnsupportedFormatError(
                f"{path.name} has format version {version}",
                path=path,
                offset=8,
                why=f"this plugin reads version {VERSION}",
                advice="Upgrade modelplug-markov, or train the model again.",
            )
        if length > MAX_HEADER:
            raise _faulty(path, 12, f"its header claims to have {length} bytes")
        encoded = file.read(length)
    start = PREFIX.size + length
    if len(encoded) < length:
        raise _truncated(path, start, size)
    try:
        header = json.loads(encoded)
    except ValueError as error:
        raise _faulty(path, PREFIX.size, f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise _faulty(path, PREFIX.size, "its header is not a JSON object")
    for key in COUNTS:
        value = header.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _faulty(path, PREFIX.size, f"{key} in its header is {value!r}, not a count")
    for key in ("name", "payload_sha256"):
        if not isinstance(header.get(key), str):
            raise _faulty(path, PREFIX.size, f"{key} in its header is {header.get(key)!r}, not text")
    expected = start + header["payload_bytes"]
    if size < expected:
        raise _truncated(path, expected, size)
    return header, start


def _faulty(path: Path, offset: int, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is not a usable Markov model",
        path=path,
        offset=offset,
        why=why,
        advice="Train it again.",
    )


def _truncated(path: Path, expected: int, actual: int) -> TruncatedModelError:
    return TruncatedModelError(
        f"{path.name} is incomplete",
        path=path,
        offset=actual,
        expected=expected,
        actual=actual,
        why=f"it has {actual} bytes, and its header calls for {expected}",
        advice="Get the file again.",
    )
