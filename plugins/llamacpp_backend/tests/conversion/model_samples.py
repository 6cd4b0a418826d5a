"""Small model directories with random weights, and conversions of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelplug_llamacpp
from modelplug.backends.types import ConversionPlan, ConvertRequest
from modelplug.formats import inspect

FIGURES: dict[str, Any] = {
    "vocab_size": 272,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor that transformers writes for a configuration."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        names = {
            "self_attn.q_proj.weight": (queries, width),
            "self_attn.k_proj.weight": (keys, width),
            "self_attn.v_proj.weight": (keys, width),
            "self_attn.o_proj.weight": (width, queries),
            "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width),
            "mlp.down_proj.weight": (width, inner),
            "input_layernorm.weight": (width,),
            "post_attention_layernorm.weight": (width,),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in names.items()}
    shapes["model.norm.weight"] = (width,)
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    return shapes


def weights_of(config: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Random weights, the same every time."""
    random = np.random.default_rng(7)
    return {
        name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes_of(config).items()
    }


def write_safetensors(path: Path, weights: dict[str, NDArray[Any]], kind: str = "F32") -> None:
    """Write a safetensors file with all weights in one type."""
    header: dict[str, Any] = {}
    data = bytearray()
    for name, values in weights.items():
        stored = stored_as(values, kind).tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(stored)],
        }
        data += stored
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def stored_as(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """Weights in a type; BF16 as its bits."""
    if kind == "BF16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(_TYPES[kind])


def loaded_as(values: NDArray[Any], kind: str) -> NDArray[np.float32]:
    """What a type leaves of weights."""
    stored = stored_as(values, kind)
    if kind == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def write_model(directory: Path, kind: str = "F32", *, tokens: int = 272, **changes: Any) -> Path:
    """Write a model directory.

    Args:
        directory: Where; made if need be.
        kind: The type of the weights.
        tokens: Tokens of its vocabulary: three special ones, the bytes, and letters.
        changes: Entries of the configuration; None leaves one out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **FIGURES, **changes}
    config = {key: value for key, value in config.items() if value is not None}
    (directory / "config.json").write_text(json.dumps(config))
    weights = weights_of({**FIGURES, **{k: v for k, v in changes.items() if v is not None}})
    write_safetensors(directory / "model.safetensors", weights, kind)
    write_fallback_tokenizer(directory, tokens)
    return directory


def write_fallback_tokenizer(directory: Path, tokens: int = 272) -> None:
    """Write a `tokenizer.json` of the kind that Llama 2 has, with hardly any words."""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts += ["\u2581", *"etaoinshrdlu"][: tokens - len(texts)]
    tokenizer = {
        "added_tokens": [{"id": n, "content": texts[n], "special": True} for n in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "unk_token": "<unk>",
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [],
        },
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


def request(directory: Path, output: Path, quantization: str = "F16", **changes: Any) -> ConvertRequest:
    """The request that the core would make."""
    values: dict[str, Any] = {"options": {"quantization": quantization, "name": "sample"}, **changes}
    return ConvertRequest(path=directory, info=inspect(directory), format="gguf", output=output, **values)


def convert(directory: Path, output: Path, quantization: str = "F16", **changes: Any) -> Path:
    """Plan and convert."""
    asked = request(directory, output, quantization, **changes)
    plan = modelplug_llamacpp.modelplug_plan_conversion(asked)
    assert isinstance(plan, ConversionPlan)
    assert modelplug_llamacpp.modelplug_convert_model(asked) == output
    assert output.stat().st_size <= plan.size
    return output
