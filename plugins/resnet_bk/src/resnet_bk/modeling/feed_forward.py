"""Feed-forwards: SwiGLU, and experts chosen by a linear gate or by the phase of the resolvent."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.exact import causal_green_diagonal
from resnet_bk.modeling.layout import Layout
from resnet_bk.scattering import ScatteringRouter

__all__ = ["Expert", "Experts", "LinearGate", "PhaseGate", "SwiGLU", "make_feed_forward"]

# Matrix products of so many rows, or a multiple, round every row alike: what one token gives then does not
# depend on how many others an expert has.
_ROWS = 64


def make_feed_forward(config: MambaKillerConfig, kind: str) -> nn.Module | None:
    """The feed-forward of a layer; None where it has none.

    Args:
        config: The model's configuration.
        kind: `none`, `swiglu` or `experts`.
    """
    return {"none": lambda _: None, "swiglu": SwiGLU, "experts": Experts}[kind](config)


class SwiGLU(nn.Module):  # type: ignore[misc]
    """W_down (silu(W_gate n) * W_up n)."""

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        width = cast("int", config.intermediate_size)
        self.gate_up_proj = nn.Linear(config.d_model, 2 * width, bias=False)
        self.down_proj = nn.Linear(width, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        inputs: Tensor,
        layout: Layout | None,  # noqa: ARG002  every feed-forward is called alike
        state: LayerState | None,  # noqa: ARG002
    ) -> tuple[Tensor, LayerState]:
        """Compute it; there is no state."""
        gate, up = self.gate_up_proj(inputs).chunk(2, -1)
        return self.down_proj(self.dropout(functional.silu(gate) * up)), {}


class Expert(nn.Module):  # type: ignore[misc]
    """One expert: two linear maps with a ReLU between them."""

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.d_model, config.intermediate_size)
        self.dropout = nn.Dropout(config.dropout)
        self.down_proj = nn.Linear(config.intermediate_size, config.d_model)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute it."""
        return self.down_proj(self.dropout(functional.relu(self.up_proj(inputs))))


class LinearGate(nn.Module):  # type: ignore[misc]
    """Chooses experts by a linear map of the token, and weighs them by a softmax over the chosen ones."""

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.top_k = config.top_k
        self.proj = nn.Linear(config.d_model, config.num_experts)

    def forward(
        self,
        inputs: Tensor,
        layout: Layout | None,  # noqa: ARG002  every gate is called alike
        state: LayerState | None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, LayerState]:
        """The experts of each token, (B, N, top_k), their weights, and no state."""
        logits, experts = self.proj(inputs).float().topk(self.top_k, dim=-1)
        return experts, logits.softmax(-1), {}


class PhaseGate(nn.Module):  # type: ignore[misc]
    """Chooses experts by the phase of a causal diagonal of the resolvent."""

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.potential = nn.Linear(config.d_model, 1)
        self.router = ScatteringRouter(config.num_experts, top_k=config.top_k)

    def forward(
        self, inputs: Tensor, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, Tensor, LayerState]:
        """The experts of each token, (B, N, top_k), their weights, and the chain to go on with."""
        with torch.autocast(inputs.device.type, enabled=False):
            kind = torch.promote_types(inputs.dtype, torch.float32)
            weight, bias = self.potential.weight.to(kind), self.potential.bias.to(kind)
            potential = functional.linear(inputs.to(kind), weight, bias).squeeze(-1)
            coupling = torch.ones_like(potential)
            if layout is not None:
                coupling = coupling.masked_fill(layout.first, 0.0)
            before = None if state is None else state["router_chain"]
            diagonal = causal_green_diagonal(potential, coupling, initial=before)
            chain = diagonal[..., -1].clone()
            if layout is not None:
                chain = chain.masked_fill(layout.empty, 0.0)
            experts, weights = self.router(diagonal)
        return experts, weights, {"router_chain": chain}


class Experts(nn.Module):  # type: ignore[misc]
    """A mixture of experts; every token goes through `top_k` of them.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.gate = PhaseGate(config) if config.use_scattering_router else LinearGate(config)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.num_experts))

    def forward(
        self, inputs: Tensor, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Compute it, and give what the choice of experts goes on with."""
        experts, weights, state = self.gate(inputs, layout, state)
        tokens = inputs.flatten(0, -2)
        choices = experts.shape[-1]
        chosen = experts.flatten()
        places, found = [], []
        for number, expert in enumerate(self.experts):
            own = (chosen == number).nonzero().squeeze(-1)
            if len(own):
                rows = functional.pad(own, (0, -len(own) % _ROWS))
                places.append(own)
                found.append(expert(tokens[rows // choices])[: len(own)])
        results = torch.cat(found)[torch.cat(places).argsort()].unflatten(0, (len(tokens), choices))
        shares = weights.flatten(0, -2).unsqueeze(-1).to(results.dtype)
        return (results * shares).sum(1).unflatten(0, inputs.shape[:-1]), state
