"""A tiny language model that follows the convention of transformers, and tokens for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
import torch

from resnet_bk.data import TokenStream

VOCABULARY = 20


class Output(NamedTuple):
    """What the model gives back."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None
    aux_loss: torch.Tensor | None = None


class Config:
    """What a checkpoint keeps of the model's shape."""

    vocab_size = VOCABULARY

    def __init__(self, width: int, epsilon: float) -> None:
        self.width = width
        self.epsilon = epsilon

    def to_dict(self) -> dict[str, Any]:
        """The shape as data."""
        return {"vocab_size": self.vocab_size, "width": self.width, "epsilon": self.epsilon}


class Block(torch.nn.Module):
    """A causal convolution with a gate."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(width, width, 2)
        self.norm = torch.nn.LayerNorm(width)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Each position sees itself and the one before."""
        padded = torch.nn.functional.pad(self.norm(hidden).transpose(1, 2), (1, 0))
        return hidden + self.dropout(torch.tanh(self.conv(padded).transpose(1, 2)))


class TinyModel(torch.nn.Module):
    """Embedding, two blocks, and the embedding again.

    Args:
        width: Of the hidden states.
        dropout: In each block.
        fault: Called in training with the number of the call and the logits; gives what takes their place.
    """

    _no_split_modules = ("Block",)

    def __init__(
        self,
        width: int = 12,
        dropout: float = 0.1,
        fault: Callable[[int, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = Config(width, 1.0)
        self.embed = torch.nn.Embedding(VOCABULARY, width)
        self.blocks = torch.nn.ModuleList([Block(width, dropout), Block(width, dropout)])
        self.head = torch.nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight
        torch.nn.init.normal_(self.embed.weight, std=0.3)
        self.fault = fault
        self.calls = 0

    def set_epsilon(self, value: float) -> None:
        """Take another epsilon, which changes nothing here."""
        self.config.epsilon = value

    def forward(self, input_ids: torch.Tensor, labels: Any = None, attention_mask: Any = None) -> Output:
        """Logits for every position."""
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden)
        logits = self.head(hidden)
        if self.training:
            self.calls += 1
            if self.fault is not None:
                logits = self.fault(self.calls, logits)
        return Output(logits)


def make_model(seed: int = 0, **options: Any) -> TinyModel:
    """A model, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyModel(**options)


def make_stream(count: int = 2000) -> TokenStream:
    """Tokens of which most follow from the one before."""
    chance = numpy.random.RandomState(3)
    tokens = [1]
    while len(tokens) < count:
        tokens.append(
            (tokens[-1] * 3 + 1) % VOCABULARY if chance.rand() < 0.8 else chance.randint(VOCABULARY)
        )
    return TokenStream.from_array(numpy.array(tokens))
