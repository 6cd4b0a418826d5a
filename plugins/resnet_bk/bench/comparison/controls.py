"""The same layer with one part replaced, to see what that part is good for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from comparison.models import resnet_bk
from resnet_bk.modeling.copy_memory import CopyMemory
from resnet_bk.modeling.green_gates import ETA_GAIN, ETA_RANGE, HeadGates
from resnet_bk.modeling.green_mixer import GreenMixer

__all__ = ["attention_model", "sigmoid_model"]


class SigmoidGates(nn.Module):  # type: ignore[misc]
    """Gates without a resolvent: beta = sigmoid(4 W n + b), alpha = sqrt(1 - beta).

    The biases begin where a free chain at the middle of its band has its own: beta near eta / 2.

    Args:
        heads: How many.
        width: Of the inputs.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, width))
        nn.init.normal_(self.weight, std=0.02)
        low, high = (torch.tensor(eta).log() for eta in ETA_RANGE)
        start = torch.exp(low + (high - low) * (torch.arange(heads) + 0.5) / heads) / 2
        self.bias = nn.Parameter(torch.logit(start))

    def forward(self, inputs: Tensor, *_unused: Any) -> tuple[list[HeadGates], Tensor]:
        """The gates of all heads, and no chain."""
        logits = (ETA_GAIN * functional.linear(inputs, self.weight) + self.bias).transpose(1, 2)
        gates = HeadGates(slice(0, len(self.bias)), torch.sigmoid(-logits).sqrt(), torch.sigmoid(logits))
        return [gates], inputs.new_empty(0)


def _attend(parts: list[Tensor], *_unused: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Softmax attention, causal and without positions, in place of the matrix state; queries come scaled."""
    queries, keys, values = parts
    return functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=1.0), {}


class NoGates(nn.Module):  # type: ignore[misc]
    """What attention needs: nothing."""

    def forward(self, inputs: Tensor, *_unused: Any) -> tuple[list[HeadGates], Tensor]:
        """No gates."""
        return [], inputs.new_empty(0)


def sigmoid_model(vocab_size: int, layers: int, **settings: object) -> nn.Module:
    """ResNet-BK with plain sigmoid gates."""
    model = resnet_bk(vocab_size, layers, **settings)
    for memory in _memories(model):
        memory.gates = SigmoidGates(memory.gates.heads, model.config.d_model)
    return model


def attention_model(vocab_size: int, layers: int, **settings: object) -> nn.Module:
    """ResNet-BK with softmax attention behind the same convolution."""
    model = resnet_bk(vocab_size, layers, **settings)
    for memory in _memories(model):
        memory.gates = NoGates()
        memory._read = _attend
    return model


def _memories(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, (GreenMixer, CopyMemory))]
