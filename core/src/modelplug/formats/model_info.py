"""What a model is: the record that inspection returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

__all__ = ["LayerSizes", "ModelInfo"]


@attrs.frozen(kw_only=True)
class LayerSizes:
    """Exact bytes of the weights, by where an engine places them.

    Attributes:
        layers: Bytes of the tensors of each repeating layer, first layer first.
        output: Bytes of the output head and final norm (what llama.cpp counts as one layer more).
        token_embedding: Bytes of the token embedding, which stays in main memory.
        other: Bytes of everything else.
        tied_embedding: Whether the token embedding doubles as output head, and is therefore needed on the GPU
            too.
    """

    layers: tuple[int, ...] = ()
    output: int = 0
    token_embedding: int = 0
    other: int = 0
    tied_embedding: bool = False

    @property
    def total(self) -> int:
        """Bytes of all weights."""
        return sum(self.layers) + self.output + self.token_embedding + self.other


@attrs.frozen(kw_only=True)
class ModelInfo:
    """What is known of a model from its files alone, without any engine.

    A field is None where the files do not say; nothing is guessed.

    Attributes:
        path: The file or directory that was inspected, as given, made absolute.
        format: `gguf`, `ggml`, `ggmf`, `ggjt`, `ggla`, `safetensors`, `pytorch`, `pytorch-legacy`,
            `huggingface` or `llamafile`; a plugin may add formats.
        format_version: For example `3` for GGUF.
        byte_order: `little` or `big`.
        kind: `model`, `adapter` (LoRA), `vocabulary` (no weights), `projector` or `unknown`.
        name: The model's own name for itself.
        architecture: For example `llama`, as the format spells it.
        parameters: Number of weights.
        quantization: The tensor type that holds most of the weights' bytes in two-dimensional tensors,
            such as `Q4_K`, with `mixed` noted in `tensor_types`.
        tensor_types: Tensor type name -> bytes stored in it.
        context_length: Tokens the model was trained for.
        layers: Repeating layers.
        embedding_length: Width of the residual stream.
        heads: Attention heads.
        heads_kv: Key/value heads of each layer (length `layers`), or empty.
        key_length: Elements of one key head.
        value_length: Elements of one value head.
        sliding_window: Tokens, where layers attend to a window only.
        state_bytes: Bytes of what a recurrent model keeps of a text in place of a key/value cache, however
            long the text is.
        experts: Experts of a mixture model.
        vocabulary_size: Tokens in the vocabulary.
        tokenizer: The kind, for example `llama` (SentencePiece), `gpt2` (byte-level BPE).
        chat_template: Whether the model brings a chat template.
        size: Bytes of all its files together.
        files: Every weight file that belongs to it (shards in order).
        payload: For a llamafile, the member within `path` that is the model; otherwise None.
        payload_offset: Bytes from the start of `path` at which the model data begins.
        weights: Exact bytes by placement.
        fingerprint: Identifies the model's content whatever its path: same bytes, same fingerprint.
        warnings: Oddities that do not prevent use.
        metadata: The scalar entries of the header (arrays only as a description), as the file spells them.
        compatible_backends: Names of the installed backends that can run it; filled in by the backends room.
        incompatible_backends: Backend name -> why not.
    """

    path: Path
    format: str
    format_version: str | None = None
    byte_order: str = "little"
    kind: str = "model"
    name: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    tensor_types: dict[str, int] = attrs.field(factory=dict)
    context_length: int | None = None
    layers: int | None = None
    embedding_length: int | None = None
    heads: int | None = None
    heads_kv: tuple[int, ...] = ()
    key_length: int | None = None
    value_length: int | None = None
    sliding_window: int | None = None
    state_bytes: int | None = None
    experts: int | None = None
    vocabulary_size: int | None = None
    tokenizer: str | None = None
    chat_template: bool = False
    size: int = 0
    files: tuple[Path, ...] = ()
    payload: str | None = None
    payload_offset: int = 0
    weights: LayerSizes = attrs.field(factory=LayerSizes)
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()
    metadata: dict[str, Any] = attrs.field(factory=dict)
    compatible_backends: tuple[str, ...] = ()
    incompatible_backends: dict[str, str] = attrs.field(factory=dict)
