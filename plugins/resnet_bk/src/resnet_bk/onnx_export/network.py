"""A model as a graph: tokens, and perhaps a state, go in; logits, and then a new state, come out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.copy_memory import Copying, CopyMemory
from resnet_bk.onnx_export.layers import run_block, run_copying

if TYPE_CHECKING:
    from resnet_bk.configuration import MambaKillerConfig
    from resnet_bk.modeling import ResNetBKForCausalLM, ResNetBKModel

__all__ = ["Network", "StateTensor", "state_tensors"]

_POSITION = "position"
_COPY = "copy"


@attrs.frozen
class StateTensor:
    """One tensor of the state of a text; zeros are the beginning.

    Attributes:
        name: The layer's number and what it is, such as `0.memory`; `copy` in place of a number for the copy
            memory; or `position`, the tokens so far.
        shape: Its dimensions after the batch.
        dtype: float32, and int64 for the position.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def state_tensors(config: MambaKillerConfig, *, copying: bool) -> list[StateTensor]:
    """The state of a text, tensor by tensor, in the order of the graph's inputs.

    Args:
        config: The model's configuration.
        copying: Whether a copy memory is part of the graph.
    """
    if not config.is_causal:
        return []
    found = [
        StateTensor(f"{number}.{name}", shape)
        for number in range(config.n_layers)
        for name, shape in _layer_shapes(config, number)
    ]
    if copying:
        shapes = _copy_shapes(config)
        found += [StateTensor(f"{_COPY}.{name}", shape) for name, shape in shapes.items()]
    if config.position_embeddings or config.use_prime_bump:
        found.append(StateTensor(_POSITION, (), torch.int64))
    return found


def _layer_shapes(config: MambaKillerConfig, number: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    if config.mixer == "green":
        heads, matrix = config.num_heads, (config.key_dim, config.value_dim)
        yield "chain", (heads, 2)
        if config.conv_kernel > 1:
            yield "window", (config.conv_kernel - 1, 2 * heads * config.key_dim + config.inner_size)
        if config.complex_heads < heads:
            yield "memory", (heads - config.complex_heads, *matrix)
        if config.complex_heads:
            yield "phased_memory", (config.complex_heads, 2, *matrix)
    else:
        yield "chain", (config.diagonal_heads or 1, 2)
    if config.feed_forwards[number] == "experts" and config.use_scattering_router:
        yield "router_chain", (2,)


def _copy_shapes(config: MambaKillerConfig) -> dict[str, tuple[int, ...]]:
    width = config.copy_key_dim or 0
    return {"chain": (1, 2), "key": (1, width), "memory": (1, width, config.d_model)}


class Network(nn.Module):  # type: ignore[misc]
    """What is recorded.

    Args:
        model: The model; its parameters are shared.
        with_state: Whether a text goes on from a state that is given.
    """

    def __init__(self, model: ResNetBKForCausalLM | ResNetBKModel, *, with_state: bool) -> None:
        super().__init__()
        self.backbone: Any = getattr(model, "model", model)
        self.head: nn.Module | None = getattr(model, "lm_head", None)
        self.copy_memory: CopyMemory | None = getattr(model, "copy_memory", None)
        self.tensors = state_tensors(model.config, copying=self.copy_memory is not None)
        self.with_state = with_state

    @property
    def result(self) -> str:
        """What the first output is called."""
        return "last_hidden_state" if self.head is None else "logits"

    def copying(self, input_ids: Tensor) -> Copying | None:
        """What the backbone needs for a copy memory; None where there is none."""
        if self.copy_memory is None or self.head is None:
            return None
        return Copying(self.copy_memory, self.head, input_ids)

    def beginning(self, rows: int, device: torch.device) -> tuple[Tensor, ...]:
        """The state before the first token of so many texts."""
        return tuple(
            torch.zeros(rows, *tensor.shape, dtype=tensor.dtype, device=device) for tensor in self.tensors
        )

    def forward(self, input_ids: Tensor, state: tuple[Tensor, ...] = ()) -> tuple[Tensor, ...]:
        """Compute.

        Args:
            input_ids: Tokens, (B, N).
            state: The tensors of `state_tensors`; none at the beginning of a text.

        Returns:
            Logits, (B, N, vocab_size), or without an output matrix the last hidden states; and the tensors
            to go on with, if there were some to go on from.
        """
        if not self.with_state:
            state = self.beginning(input_ids.shape[0], input_ids.device)
        given = dict(zip((tensor.name for tensor in self.tensors), state, strict=True))
        hidden, found = self._run(input_ids, given)
        results = hidden if self.head is None else self.head(hidden)
        return (results, *(found[tensor.name] for tensor in self.tensors)) if self.with_state else (results,)

    def _run(self, input_ids: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        backbone, found = self.backbone, {}
        hidden = backbone.embeddings(input_ids)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        if _POSITION in given:
            positions = given[_POSITION].unsqueeze(1) + positions
            found[_POSITION] = given[_POSITION] + input_ids.shape[1]
        if backbone.config.position_embeddings:
            hidden = hidden + backbone.position_embeddings(positions)
        bump = backbone.prime_bump(positions) if backbone.config.use_prime_bump else None
        for number, block in enumerate(backbone.layers):
            hidden, new_state = run_block(block, hidden, bump, _part_of(given, str(number)))
            found.update({f"{number}.{name}": tensor for name, tensor in new_state.items()})
        hidden, copying = backbone.norm(hidden), self.copying(input_ids)
        if copying is not None:
            hidden, new_state = run_copying(copying, hidden, _part_of(given, _COPY))
            found.update({f"{_COPY}.{name}": tensor for name, tensor in new_state.items()})
        return hidden, found


def _part_of(state: dict[str, Tensor], owner: str) -> LayerState:
    prefix = f"{owner}."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
