"""The demo model as a Hugging Face directory, derived from its GGUF file alone."""

from __future__ import annotations

import json
import struct
from array import array
from typing import TYPE_CHECKING, Any

from modelplug.testing.demo_gguf import DemoGguf, Tensor, little_endian_floats

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_demo_hugging_face"]

NORMAL_TYPE, CONTROL_TYPE, UNKNOWN_TYPE = 1, 3, 2
SPACE = "\u2581"

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def write_demo_hugging_face(source: DemoGguf, directory: Path) -> None:
    """Write the model into an existing directory: 32-bit weights, settings, tokenizer and chat template."""
    _write_weights(source, directory / "model.safetensors")
    files = {
        "config.json": _config(source.metadata),
        "generation_config.json": _special_ids(source.metadata),
        "tokenizer.json": _tokenizer(source.metadata),
        "tokenizer_config.json": _tokenizer_config(source.metadata),
    }
    for name, content in files.items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")


def _special_ids(metadata: dict[str, Any]) -> dict[str, int]:
    return {
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
    }


def _config(metadata: dict[str, Any]) -> dict[str, Any]:
    width, heads = metadata["llama.embedding_length"], metadata["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "head_dim": width // heads,
        "max_position_embeddings": metadata["llama.context_length"],
        "rms_norm_eps": _shortest(metadata["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": metadata["llama.rope.freq_base"],
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        **_special_ids(metadata),
    }


def _shortest(value: float) -> float:
    """The decimal number that a 32-bit float was made of, such as 1e-05 for 9.999999747378752e-06."""
    return float(f"{value:.7g}")


def _write_weights(source: DemoGguf, path: Path) -> None:
    heads = {
        "attn_q": source.metadata["llama.attention.head_count"],
        "attn_k": source.metadata["llama.attention.head_count_kv"],
    }
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for tensor in source.tensors:
        values = tensor.values
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = _unpaired(tensor, heads[part])
        begin = len(data)
        data += little_endian_floats(values)
        header[_name(tensor.name)] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def _name(name: str) -> str:
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    _, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"


def _unpaired(tensor: Tensor, heads: int) -> array[float]:
    """The rows in the order of the Hugging Face implementation.

    GGUF keeps the two rows that the rotary embedding turns together next to each other; there, the second
    of each pair stands half a head below the first.
    """
    rows, width = tensor.shape
    per_head = rows // heads
    values = array("f")
    for first in range(0, rows, per_head):
        for parity in (0, 1):
            for row in range(first + parity, first + per_head, 2):
                values.extend(tensor.values[row * width : (row + 1) * width])
    return values


def _tokenizer(metadata: dict[str, Any]) -> dict[str, Any]:
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    special = [index for index, kind in enumerate(types) if kind in (CONTROL_TYPE, UNKNOWN_TYPE)]
    begin = tokens[metadata["tokenizer.ggml.bos_token_id"]]
    begin_id = metadata["tokenizer.ggml.bos_token_id"]
    begin_piece = {"SpecialToken": {"id": begin, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(index, tokens[index]) for index in special],
        # A space is put before every stretch of text between special tokens, as llama.cpp does.
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin_piece, first],
            "pair": [begin_piece, first, {"SpecialToken": {"id": begin, "type_id": 1}}, second],
            "special_tokens": {begin: {"id": begin, "ids": [begin_id], "tokens": [begin]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": tokens[metadata["tokenizer.ggml.unknown_token_id"]],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": _merges(metadata),
        },
    }


def _added_token(index: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": content, **flags}


def _merges(metadata: dict[str, Any]) -> list[list[str]]:
    """Every pair of pieces that makes another piece, the pairs of the highest score first."""
    columns = (metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type"))
    scores = {token: score for token, score, kind in zip(*columns, strict=True) if kind == NORMAL_TYPE}
    pairs = [
        (-score, piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return [[left, right] for _, left, right in sorted(pairs, key=lambda pair: pair[0])]


def _tokenizer_config(metadata: dict[str, Any]) -> dict[str, Any]:
    tokens = metadata["tokenizer.ggml.tokens"]
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown"}
    return {
        # The tokenizer.json says everything; the Llama class of some versions would build its own instead.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        **{name: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]] for name, key in names.items()},
        "chat_template": metadata["tokenizer.chat_template"],
    }
