"""What the model file says of its special tokens, for the servers that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.formats.gguf_header import read_gguf_header
from modelplug.formats.source import ByteSource

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = ["control_tokens", "start_token"]

_CONTROL = 3


def start_token(info: ModelInfo) -> int | None:
    """The token that the model wants in front of every text; None if it wants none."""
    wanted = info.metadata.get("tokenizer.ggml.add_bos_token")
    if wanted is None:
        # What llama.cpp assumes: SentencePiece vocabularies do, byte-pair ones do not.
        wanted = info.tokenizer == "llama"
    token = info.metadata.get("tokenizer.ggml.bos_token_id", 1 if info.tokenizer == "llama" else None)
    return token if wanted and isinstance(token, int) else None


def control_tokens(info: ModelInfo) -> frozenset[int]:
    """The tokens that stand for no text, read from the file's list of token types."""
    path = info.files[0] if info.files else info.path
    with ByteSource(path, info.payload_offset) as source:
        types = read_gguf_header(source).entries.get("tokenizer.ggml.token_type")
    if types is None:
        return frozenset()
    return frozenset(number for number, kind in enumerate(types.read()) if kind == _CONTROL)
