"""What a GGUF model is: its header and tensors turned into a `ModelInfo`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from modelplug.errors import ModelFileError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.gguf_header import GgufHeader, read_gguf_header
from modelplug.formats.gguf_shards import check_shards, shard_paths
from modelplug.formats.gguf_tensors import place_tensors
from modelplug.formats.gguf_values import GgufArray, LongString, kind_of
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.source import ByteSource
from modelplug.formats.weights import (
    MAX_LAYERS,
    Tensor,
    count_parameters,
    dominant_type,
    layer_sizes,
    type_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

__all__ = ["GgufKeys", "inspect_gguf"]

_KEPT_ARRAY: Final = 1024
_KEPT_VALUES: Final = 8192


def inspect_gguf(
    path: Path, *, start: int = 0, length: int | None = None, payload: str | None = None
) -> ModelInfo:
    """Inspect a GGUF file, with all its shards.

    Args:
        path: The file, or any one of its shards.
        start: Bytes before the model, for one inside another file.
        length: Bytes of the model, for one inside another file.
        payload: The name of the member, for one inside another file.

    Returns:
        What the file says of the model.

    Raises:
        ModelFileError: The file is damaged, cut off, of an unknown version, or a shard is missing.
    """
    paths = (path,) if payload is not None else shard_paths(path)
    headers: list[GgufHeader] = []
    tensors: list[Tensor] = []
    warnings: list[str] = []
    size = 0
    builder = FingerprintBuilder()
    for file in paths:
        with ByteSource(file, start, length) as source:
            header = read_gguf_header(source)
            placed, oddities = place_tensors(source, header)
            builder.add(source, header.end)
            size += source.size
        headers.append(header)
        tensors += placed
        warnings += [f"{file.name}: {oddity}" if len(paths) > 1 else oddity for oddity in oddities]
    check_shards(paths, headers)
    keys = GgufKeys(paths[0], headers[0], start)
    return _to_info(
        keys,
        tensors,
        path=path,
        files=paths,
        size=size,
        warnings=warnings,
        fingerprint=builder.result(),
        payload=payload,
    )


class GgufKeys:
    """The well-known metadata entries, each checked for its type.

    Args:
        path: The file, for errors.
        header: Its header.
        start: Bytes before the model in the file.
    """

    def __init__(self, path: Path, header: GgufHeader, start: int = 0) -> None:
        self.path = path
        self.header = header
        self.start = start
        self.entries = header.entries
        self.architecture = self.text("general.architecture")

    def wrong(self, key: str, expected: str) -> NoReturn:
        """Raise for an entry of the wrong type or an impossible value."""
        offset = self.start + self.header.places.get(key, 0)
        value = self.entries.get(key)
        shown = f"{value!r:.60}" if isinstance(value, (bool, int, float, str)) else kind_of(value)
        raise ModelFileError(
            f"{self.path.name} is damaged: {key!r} is {shown} instead of {expected}, at offset {offset}",
            path=self.path,
            offset=offset,
            advice="Convert the model again with a current converter, or correct this metadata entry.",
        )

    def text(self, key: str) -> str | None:
        """A text entry; None if absent."""
        value = self.entries.get(key)
        if value is not None and not isinstance(value, str):
            self.wrong(key, "a text")
        return value

    def whole(self, key: str, most: int | None = None) -> int | None:
        """A whole number of at least 0; None if absent."""
        value = self.entries.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.wrong(key, "a whole number of at least 0")
        if most is not None and value > most:
            self.wrong(key, f"a number up to {most}")
        return value

    def own(self, suffix: str, most: int | None = None) -> int | None:
        """The whole number under the architecture's own prefix."""
        return self.whole(f"{self.architecture}.{suffix}", most)

    def per_layer(self, suffix: str, layers: int | None) -> tuple[int, ...]:
        """A number for each layer, whether stored once or as an array; empty if absent."""
        key = f"{self.architecture}.{suffix}"
        value = self.entries.get(key)
        if not isinstance(value, GgufArray):
            once = self.whole(key)
            return () if once is None else (once,) * (layers or 1)
        if value.items in {"string", "array", "bool", "float32", "float64"} or value.length > MAX_LAYERS:
            self.wrong(key, "a whole number or one for each layer")
        if layers is not None and value.length != layers:
            self.wrong(key, f"an array of {layers} numbers, one for each layer")
        numbers = tuple(value.read())
        if any(number < 0 for number in numbers):
            self.wrong(key, "whole numbers of at least 0")
        return numbers

    def strings(self, key: str) -> int | None:
        """The length of an array of strings; None if absent."""
        value = self.entries.get(key)
        if value is None:
            return None
        if not isinstance(value, GgufArray) or value.items != "string":
            self.wrong(key, "an array of strings")
        return value.length

    def plain(self) -> dict[str, Any]:
        """All entries as data that JSON can hold: arrays described, short numeric ones with their values."""
        kept = _KEPT_VALUES
        plain: dict[str, Any] = {}
        for key, value in self.entries.items():
            if isinstance(value, GgufArray):
                short = value.items not in {"string", "array"} and value.length <= min(_KEPT_ARRAY, kept)
                plain[key] = value.describe()
                if short:
                    kept -= value.length + 16  # each costs a read of its own, an empty one too
                    plain[key]["values"] = [_plain(item) for item in value.read()]
            else:
                plain[key] = value.describe() if isinstance(value, LongString) else _plain(value)
        return plain


def _plain(value: Any) -> Any:
    # JSON has no notation for infinities and NaN
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _to_info(
    keys: GgufKeys,
    tensors: list[Tensor],
    *,
    path: Path,
    files: tuple[Path, ...],
    size: int,
    warnings: list[str],
    fingerprint: str,
    payload: str | None,
) -> ModelInfo:
    layers = keys.own("block_count", MAX_LAYERS)
    width = keys.own("embedding_length")
    all_heads = keys.per_layer("attention.head_count", layers)
    heads = max(all_heads, default=None)
    head_width = width // heads if width and heads and width % heads == 0 else None
    vocabulary = keys.strings("tokenizer.ggml.tokens")
    kind = _kind(keys, tensors)
    if keys.architecture is None and kind == "model":
        warnings.append("`general.architecture` is missing, so no engine can tell how to run the model")
    return ModelInfo(
        path=path,
        format="gguf" if payload is None else "llamafile",
        format_version=str(keys.header.version),
        byte_order="big" if keys.header.big_endian else "little",
        kind=kind,
        name=keys.text("general.name"),
        architecture=keys.architecture,
        parameters=count_parameters(tensors),
        quantization=dominant_type(tensors),
        tensor_types=type_bytes(tensors),
        context_length=keys.own("context_length"),
        layers=layers,
        embedding_length=width,
        heads=heads,
        heads_kv=keys.per_layer("attention.head_count_kv", layers) or _defaults(all_heads, layers),
        key_length=_first(keys.own("attention.key_length"), head_width),
        value_length=_first(keys.own("attention.value_length"), head_width),
        sliding_window=keys.own("attention.sliding_window") or None,
        experts=keys.own("expert_count") or None,
        vocabulary_size=_first(vocabulary, keys.own("vocab_size")),
        tokenizer=keys.text("tokenizer.ggml.model"),
        chat_template=_has_template(keys),
        size=size,
        files=files,
        payload=payload,
        payload_offset=keys.start,
        weights=layer_sizes(tensors, layers),
        fingerprint=fingerprint,
        warnings=tuple(warnings),
        metadata=keys.plain(),
    )


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _defaults(heads: tuple[int, ...], layers: int | None) -> tuple[int, ...]:
    # The format's own default: without grouped queries there are as many key/value heads as heads.
    return heads if layers is not None else ()


def _has_template(keys: GgufKeys) -> bool:
    if isinstance(keys.entries.get("tokenizer.chat_template"), LongString):
        return True
    if keys.text("tokenizer.chat_template"):
        return True
    return any(key.startswith("tokenizer.chat_template.") for key in keys.entries)


def _kind(keys: GgufKeys, tensors: list[Tensor]) -> str:
    stated = keys.text("general.type")
    if stated == "adapter":
        return "adapter"
    if stated in {"mmproj", "projector"} or keys.architecture == "clip":
        return "projector"
    if stated in {"imatrix", "dataset"}:
        return "unknown"
    return "model" if tensors else "vocabulary"
