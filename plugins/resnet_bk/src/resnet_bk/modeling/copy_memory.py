"""A memory of what followed: it brings tokens back that came after states like the present one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.exact import gated_state
from resnet_bk.modeling.green_gates import GreenGates, HeadGates
from resnet_bk.modeling.layout import Layout, take
from resnet_bk.modeling.single_token import next_memory

__all__ = ["CopyMemory", "Copying", "rows_of"]

# Strong, so that states that differ are told apart from the first step on.
FEATURE_GAIN = 4.0


class CopyMemory(nn.Module):  # type: ignore[misc]
    """The causal Green operator over pairs of a state and the token that followed it.

    f_i = silu(4 W h_i),  R_i = alpha_i R_{i-1} + sqrt(beta_i) f_{i-1} u_i^T,  h_i + scale R_i^T f_i,

    h_i the last hidden state, u_i the row of the output matrix that belongs to token i, of length 1: what is
    read raises the logits of the tokens that came after states like this one. Keys and queries are the same
    features, so that like finds like before anything is learned.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.d_model, config.copy_key_dim, bias=False)
        self.gates = GreenGates(config, free=1)
        self.scale = nn.Parameter(torch.empty(config.d_model))

    def forward(
        self, hidden: Tensor, followed: Tensor, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Add what is read.

        Args:
            hidden: The last hidden states, (B, N, d_model).
            followed: The rows of the output matrix of the tokens themselves, (B, N, d_model).
            layout: Where the tokens are, if some places hold padding.
            state: What to go on from; None at the beginning of a text.

        Returns:
            The hidden states, and the state to go on with.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return self._add(hidden, followed, layout, state)

    def _add(
        self, hidden: Tensor, followed: Tensor, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        features = self.features(hidden)
        if layout is not None:
            features = features.masked_fill(layout.padding.unsqueeze(-1), 0.0)
        before = features.new_zeros(features[:, :1].shape) if state is None else state["key"]
        keys = torch.cat([before.to(features.dtype), features[:, :-1]], 1)
        values = functional.normalize(followed.to(features.dtype), dim=-1)
        parts = [features, keys, values]
        if state is not None and hidden.shape[1] == 1 and not torch.is_grad_enabled():
            groups, chain = self.gates.step(hidden, None, state["chain"])
            read, memory = self._read_one(parts, groups, state["memory"])
        else:
            groups, chain = self.gates(hidden, None, layout, None if state is None else state["chain"])
            read, memory = self._read(parts, groups, None if state is None else state["memory"])
        added = (self.scale * read).to(hidden.dtype)
        return hidden + added, {"key": features[:, -1:].clone(), "chain": chain, "memory": memory}

    def _read(
        self, parts: list[Tensor], groups: list[HeadGates], memory: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What queries read, (B, N, d_model), and the memory to go on with."""
        [(_, alpha, beta)] = groups
        queries, keys, values = (part.unsqueeze(1) for part in parts)
        found, last = gated_state(queries, keys, values, alpha, beta, initial=memory)
        return found.squeeze(1), last

    def _read_one(
        self, parts: list[Tensor], groups: list[HeadGates], memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same for a single token."""
        [(_, alpha, beta)] = groups
        query, key, value = (part.to(beta.dtype) for part in parts)
        return next_memory(memory, query, key, value, alpha, beta)

    def features(self, hidden: Tensor) -> Tensor:
        """What states are compared by, (B, N, copy_key_dim), in float32 at least."""
        found = self.proj(hidden.to(self.scale.dtype))
        return functional.silu(FEATURE_GAIN * found.to(torch.promote_types(found.dtype, torch.float32)))


class Copying(NamedTuple):
    """What a backbone needs to let the memory have the last word.

    Attributes:
        memory: The memory.
        output: The output matrix, (vocab_size, d_model), is its `weight`.
        tokens: (B, N); None where only their vectors are known, of which nothing can be kept.
    """

    memory: CopyMemory
    output: nn.Module
    tokens: Tensor | None

    def run(
        self, hidden: Tensor, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Add what the memory reads; the arguments are those of `CopyMemory.forward`."""
        followed = torch.zeros_like(hidden)
        if self.tokens is not None:
            tokens = self.tokens if layout is None else take(self.tokens, layout)
            followed = rows_of(self.output, tokens).to(hidden.device)
        found: tuple[Tensor, LayerState] = self.memory(hidden, followed, layout, state)
        return found

    def at(self, row: int, places: Tensor) -> Copying:
        """The same for some places of one row."""
        return self if self.tokens is None else self._replace(tokens=self.tokens[row : row + 1, places])


def rows_of(output: nn.Module, tokens: Tensor) -> Tensor:
    """The rows of an output matrix that belong to tokens, (..., d_model), wherever it is.

    Args:
        output: What has the matrix as its `weight`.
        tokens: Which, (...).
    """
    if output.weight.is_meta:
        # Offloaded by accelerate, which brings it back for a module's own forward only.
        from accelerate.utils import align_module_device

        with align_module_device(output):
            return functional.embedding(tokens.to(output.weight.device), output.weight)
    return functional.embedding(tokens.to(output.weight.device), output.weight)
