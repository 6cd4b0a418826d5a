"""The sampling loop's state, for families of models that keep it in different ways."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from modelplug_transformers.context import Context

TINY: dict[str, Any] = {"vocab_size": 96, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
SMALL: dict[str, Any] = {
    **TINY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "head_dim": 16,
    "max_position_embeddings": 128,
}

# Absolute positions, biases that depend on distance, windows, alternating windows, experts, recurrent states.
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {**TINY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128},
    "bloom": {**TINY, "hidden_size": 32, "n_layer": 2, "n_head": 2},
    "opt": {
        **TINY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 128,
    },
    "qwen2": SMALL,
    "mistral": {**SMALL, "sliding_window": 8},
    "gemma2": {**SMALL, "sliding_window": 8},
    "mixtral": {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "lfm2": {**SMALL, "layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_ff_dim": 64},
    "mamba": {**TINY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
}


def make(family: str) -> tuple[Any, Any]:
    """Make a small model of a family with random weights, the same every time."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family])
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.eval()
    return torch, model


def greedy(context: Context, tokens: list[int], count: int) -> list[int]:
    """Continue `tokens` with a context, the most probable token each time."""
    logits = None
    known = context.reuse(tokens)
    for block in context.blocks(tokens[known:]):
        logits = context.evaluate(block)
    found: list[int] = []
    for _ in range(count):
        assert logits is not None
        found.append(int(logits.argmax()))
        logits = context.evaluate(found[-1:])
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_equal_those_of_computing_everything_anew(family: str) -> None:
    """Prompt in blocks, one token at a time, and prefix reuse change nothing, whatever the model keeps."""
    torch, model = make(family)
    prompt = [(7 * index) % 90 + 3 for index in range(21)]
    expected = list(prompt)
    with torch.inference_mode():
        for _ in range(12):
            whole = torch.tensor([expected])
            expected.append(int(model(input_ids=whole, use_cache=False).logits[0, -1].argmax()))
    context = Context(torch, model, torch.device("cpu"), 6)
    for _ in range(2):
        assert greedy(context, prompt, 12) == expected[len(prompt) :]
    changed = [*prompt[:13], 5, 6, 7]
    fresh = Context(torch, model, torch.device("cpu"), 6)
    assert greedy(context, changed, 8) == greedy(fresh, changed, 8)
