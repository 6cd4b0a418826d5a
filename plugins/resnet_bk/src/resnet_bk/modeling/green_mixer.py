"""The recommended mixer: the causal Green operator in normal form, with a matrix state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.convolution import CausalConvolution
from resnet_bk.modeling.exact import can_mix, gated_state, mix
from resnet_bk.modeling.green_gates import GreenGates, HeadGates
from resnet_bk.modeling.layout import Layout
from resnet_bk.modeling.single_token import next_memory
from resnet_bk.resolvent.kernels.cpu_mixer import MixerInputs

__all__ = ["GreenMixer"]


class GreenMixer(nn.Module):  # type: ignore[misc]
    """Queries read what keys and values wrote into a matrix for each head, which gates make fade.

    R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T,  o_i = (Re R_i)^T q_i,  out = W ((o + skip v) silu(gate)),
    with queries, keys and values behind a short convolution. No norm on o: it would scale a small memory
    together with the skip.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.key_dim = config.key_dim
        self.value_dim = config.value_dim
        keys, values = self.heads * self.key_dim, config.inner_size
        self.sizes = (keys, keys, values)
        self.in_proj = nn.Linear(config.d_model, sum(self.sizes) + values, bias=False)
        self.conv = CausalConvolution(sum(self.sizes), config.conv_kernel)
        self.gates = GreenGates(config)
        self.skip = nn.Parameter(torch.empty(values))
        self.out_proj = nn.Linear(values, config.d_model, bias=False)

    def forward(
        self, inputs: Tensor, bump: Tensor | None, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Mix the tokens.

        Args:
            inputs: (B, N, d_model).
            bump: What is added to the potential, (B or 1, N); None for nothing.
            layout: Where the tokens are, if some places hold padding.
            state: What to go on from; None at the beginning of a text.

        Returns:
            (B, N, d_model), and the state to go on with.
        """
        projected = self.in_proj(inputs)
        if layout is not None:
            convolved = torch.arange(projected.shape[-1], device=projected.device) < sum(self.sizes)
            projected = projected.masked_fill(layout.padding.unsqueeze(-1) & convolved, 0.0)
        if state is not None and inputs.shape[1] == 1 and not torch.is_grad_enabled():
            groups, chain = self.gates.step(inputs, bump, state["chain"])
            mixed, states = self._mix(projected, lambda parts: self._read_one(parts, groups, state), state)
        else:
            groups, chain = self.gates(inputs, bump, layout, None if state is None else state["chain"])
            mixed, states = self._mix_at_once(projected, groups, layout, state) or self._mix(
                projected, lambda parts: self._read(parts, groups, layout, state), state
            )
        return self.out_proj(mixed), {"chain": chain, **states}

    def _mix(
        self,
        projected: Tensor,
        read: Callable[[list[Tensor]], tuple[Tensor, LayerState]],
        state: LayerState | None,
    ) -> tuple[Tensor, LayerState]:
        """What the output projection gets, step by step, and window and memories to go on with."""
        mixed, gate = projected.split([sum(self.sizes), self.sizes[2]], -1)
        mixed, window = self.conv(mixed, None if state is None else state["window"])
        queries, keys, values = functional.silu(mixed).split(self.sizes, -1)
        found, memories = read(
            [
                part.unflatten(-1, (self.heads, width)).transpose(1, 2)
                for part, width in (
                    (queries * self.key_dim**-0.5, self.key_dim),
                    (keys, self.key_dim),
                    (values, self.value_dim),
                )
            ]
        )
        found = found.transpose(1, 2).flatten(2) + self.skip * values
        return found * functional.silu(gate), {"window": window, **memories}

    def _mix_at_once(
        self, projected: Tensor, groups: list[HeadGates], layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState] | None:
        """The same in one pass over memory; None where that can't be."""
        if len(groups) != 1 or groups[0].alpha.is_complex() or not self._is_plain(projected):
            return None
        before = None if state is None else state["window"].to(projected.dtype)
        inputs = MixerInputs(
            projected=projected,
            window=before,
            taps=self.conv.weight,
            bias=self.conv.bias,
            skip=self.skip,
            alpha=groups[0].alpha,
            beta=groups[0].beta,
            initial=None if state is None else state["memory"],
        )
        found = mix(inputs) if can_mix(inputs) else None
        if found is None:
            return None
        mixed, memory = found
        if layout is not None:
            memory = memory.masked_fill(layout.empty[:, None, None, None], 0.0)
        window = self.conv.next_window(projected[..., : sum(self.sizes)], before)
        return mixed, {"window": window, "memory": memory}

    def _is_plain(self, projected: Tensor) -> bool:
        """Whether the steps in between are what this class says: nobody listens to them or replaced them."""
        conv = self.conv
        hooks = (
            conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks
        )
        replaced = type(conv) is not CausalConvolution or "forward" in vars(conv) or "_read" in vars(self)
        return projected.device.type == "cpu" and not hooks and not replaced

    def _read(
        self, parts: list[Tensor], groups: list[HeadGates], layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """What queries read, (B, heads, N, P), and the memories to go on with."""
        found, memories = [], {}
        for heads, alpha, beta in groups:
            name = _name_of(alpha)
            queries, keys, values = (part[:, heads] for part in parts)
            before = None if state is None else state[name]
            read, memory = gated_state(queries, keys, values, alpha, beta, initial=before)
            if layout is not None:
                memory = memory.masked_fill(layout.empty[:, None, None, None], 0.0)
            found.append(read)
            memories[name] = memory
        return _joined(found), memories

    def _read_one(
        self, parts: list[Tensor], groups: list[HeadGates], state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """The same for a single token."""
        queries, keys, values = (part.squeeze(2) for part in parts)
        found, memories = [], {}
        for heads, alpha, beta in groups:
            name = _name_of(alpha)
            query, key, value = (part[:, heads].to(beta.dtype) for part in (queries, keys, values))
            read, memories[name] = next_memory(state[name], query, key, value, alpha, beta)
            found.append(read)
        return _joined(found).to(values.dtype).unsqueeze(2), memories


def _name_of(alpha: Tensor) -> str:
    return "phased_memory" if alpha.is_complex() else "memory"


def _joined(groups: list[Tensor]) -> Tensor:
    return groups[0] if len(groups) == 1 else torch.cat(groups, 1)
