"""The models that are compared, by name: equal in size, and in how their projections begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mambapy.mamba import MambaBlock
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP

from comparison.mamba import MambaLanguageModel
from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling import ResNetBK
from resnet_bk.modeling.green_mixer import GreenMixer

__all__ = ["Builder", "add_dropout", "llama", "mamba", "resnet_bk"]

Builder = Callable[[], nn.Module]
WIDTH = 128


def resnet_bk(vocab_size: int, layers: int, **settings: object) -> nn.Module:
    """ResNet-BK with its default layer, or with other settings."""
    config = MambaKillerConfig(
        vocab_size=vocab_size, d_model=WIDTH, n_layers=layers, n_seq=256, use_cache=False, **settings
    )
    return ResNetBK(config)


def llama(vocab_size: int, layers: int, intermediate_size: int) -> nn.Module:
    """A Llama of transformers, with the fused attention of PyTorch."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=intermediate_size,
        max_position_embeddings=4096,
        initializer_range=0.02,
        tie_word_embeddings=False,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def mamba(vocab_size: int, layers: int) -> nn.Module:
    """A Mamba of mambapy's blocks."""
    return MambaLanguageModel(vocab_size, WIDTH, layers)


def add_dropout(model: nn.Module, share: float) -> None:
    """Drop a share of what each branch adds to the residual stream, in training, in any of these models."""

    def drop(module: nn.Module, _inputs: Any, found: Any) -> Any:
        if isinstance(found, tuple):
            return (functional.dropout(found[0], share, module.training), *found[1:])
        return functional.dropout(found, share, module.training)

    for module in model.modules():
        if isinstance(module, (GreenMixer, MambaBlock, LlamaAttention, LlamaMLP)):
            module.register_forward_hook(drop)
