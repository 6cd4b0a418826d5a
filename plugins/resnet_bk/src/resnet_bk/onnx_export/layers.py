"""The layers as ONNX can hold them: the formulas of `resnet_bk.modeling`, around other recurrences.

The model's own modules compute what needs no recurrence. A state is a dictionary as in
`resnet_bk.modeling.cache`, but of real tensors, and zeros are the beginning of a text: of the chain it holds
1 / d.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.modeling.block import Block
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.convolution import CausalConvolution
from resnet_bk.modeling.copy_memory import Copying, rows_of
from resnet_bk.modeling.diagonal_mixer import ETA_FLOOR, DiagonalMixer
from resnet_bk.modeling.feed_forward import Experts, PhaseGate, SwiGLU
from resnet_bk.modeling.green_gates import LEAD, GreenGates
from resnet_bk.modeling.green_mixer import GreenMixer
from resnet_bk.onnx_export.recurrences import denominators, phased_memory, plain_memory, reciprocal

__all__ = ["run_block", "run_copying"]

_TINY = 1e-30


class Gates(NamedTuple):
    """The gates of all heads.

    Attributes:
        size: The absolute value of alpha, (B, heads, N).
        phase: alpha over that, both parts, (B, heads, N, 2).
        beta: (B, heads, N).
        chain: 1 / d of the last site, (B, heads, 2).
    """

    size: Tensor
    phase: Tensor
    beta: Tensor
    chain: Tensor


def run_block(
    block: Block, hidden: Tensor, bump: Tensor | None, state: LayerState
) -> tuple[Tensor, LayerState]:
    """Add what a layer computes to the residual stream.

    Args:
        block: The layer.
        hidden: The residual stream, (B, N, d_model).
        bump: What is added to the potential, (B or 1, N); None for nothing.
        state: What to go on from.

    Returns:
        The residual stream, and the state to go on with.
    """
    inputs = block.norm(hidden)
    if isinstance(block.mixer, GreenMixer):
        mixed, new_state = _mix_green(block.mixer, inputs, bump, state)
    else:
        mixed, new_state = _mix_diagonal(block.mixer, inputs, bump, state)
    if block.feed_forward is None:
        return hidden + mixed, new_state
    if not block.parallel:
        hidden = hidden + mixed
        inputs = block.feed_forward_norm(hidden)
    added, more = _feed_forward(block.feed_forward, inputs, state)
    hidden = hidden + added if not block.parallel else hidden + added + mixed
    return hidden, {**new_state, **more}


def run_copying(copying: Copying, hidden: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
    """Add what the copy memory reads to the last hidden states.

    Args:
        copying: The memory, and the tokens.
        hidden: The last hidden states, (B, N, d_model).
        state: What to go on from.

    Returns:
        The hidden states, and the state to go on with.
    """
    memory = copying.memory
    # Zeros are the beginning of every state, and this chain begins at a lead.
    lead = torch.tensor(LEAD, dtype=hidden.dtype, device=hidden.device)
    gates = _gates(memory.gates, hidden, None, state["chain"] + lead)
    queries = memory.features(hidden)
    extended = torch.cat([state["key"], queries], 1)
    keys = extended.narrow(1, 0, hidden.shape[1]).unsqueeze(1) * torch.sqrt(gates.beta).unsqueeze(-1)
    values = functional.normalize(rows_of(copying.output, copying.tokens), dim=-1)
    read, last = plain_memory(queries.unsqueeze(1), keys, values.unsqueeze(1), gates.size, state["memory"])
    new_state = {"key": extended.narrow(1, hidden.shape[1], 1), "chain": gates.chain - lead, "memory": last}
    return hidden + memory.scale * read.squeeze(1), new_state


def _mix_green(
    mixer: GreenMixer, inputs: Tensor, bump: Tensor | None, state: LayerState
) -> tuple[Tensor, LayerState]:
    gates = _gates(mixer.gates, inputs, bump, state["chain"])
    mixed, gate = mixer.in_proj(inputs).split([sum(mixer.sizes), mixer.sizes[2]], -1)
    extended = torch.cat([state["window"], mixed], 1) if "window" in state else mixed
    queries, keys, values = functional.silu(_convolve(mixer.conv, extended)).split(mixer.sizes, -1)
    q, k, v = (
        part.unflatten(-1, (mixer.heads, width)).transpose(1, 2)
        for part, width in (
            (queries * mixer.key_dim**-0.5, mixer.key_dim),
            (keys, mixer.key_dim),
            (values, mixer.value_dim),
        )
    )
    k = k * torch.sqrt(gates.beta).unsqueeze(-1)
    read, memories = [], {}
    for heads in mixer.gates.groups:
        alpha, own = gates.size[:, heads], (q[:, heads], k[:, heads], v[:, heads])
        if heads.start < mixer.gates.plain_heads:
            found, memories["memory"] = plain_memory(*own, alpha, state["memory"])
        else:
            alpha = alpha.unsqueeze(-1) * gates.phase[:, heads]
            found, memories["phased_memory"] = phased_memory(*own, alpha, state["phased_memory"])
        read.append(found)
    mixed = torch.cat(read, 1).transpose(1, 2).flatten(2) + mixer.skip * values
    window = extended.narrow(1, inputs.shape[1], mixer.conv.taps - 1)
    new_state = {"chain": gates.chain, "window": window, **memories}
    return mixer.out_proj(mixed * functional.silu(gate)), new_state


def _gates(gates: GreenGates, inputs: Tensor, bump: Tensor | None, chain: Tensor) -> Gates:
    potential, hopping, energy, eta = gates._sites(inputs, bump, None)
    found = denominators(potential - energy, hopping * hopping, eta, chain)
    real, imaginary = found.before.unbind(-1)
    size = hopping.abs() * torch.sqrt(imaginary / found.q)
    # Where there is no site before, the size is 0 and there is no phase.
    length = torch.sqrt(real * real + imaginary * imaginary).clamp(min=_TINY)
    phase = -torch.sign(hopping).unsqueeze(-1) * found.before / length.unsqueeze(-1)
    return Gates(size, phase, eta / found.q, found.last)


def _convolve(conv: CausalConvolution, extended: Tensor) -> Tensor:
    planes = extended.unsqueeze(2).permute(0, 3, 1, 2)
    weight = conv.weight[:, None, :, None]
    results = functional.conv2d(planes, weight, conv.bias, groups=conv.weight.shape[0])
    return results.permute(0, 2, 3, 1).squeeze(2)


def _mix_diagonal(
    mixer: DiagonalMixer, inputs: Tensor, bump: Tensor | None, state: LayerState
) -> tuple[Tensor, LayerState]:
    potential = mixer.potential(inputs).transpose(1, 2)
    if mixer.limit is not None:
        potential = potential.clamp(-mixer.limit, mixer.limit)
    if bump is not None:
        potential = potential + bump.unsqueeze(1)
    detuning = potential - mixer.energy.unsqueeze(-1)
    eta = (mixer.epsilon * functional.softplus(mixer.rho).unsqueeze(-1) + ETA_FLOOR).expand_as(detuning)
    new_state = {}
    if mixer.causal:
        diagonal, new_state["chain"] = _causal_diagonal(detuning, eta, state["chain"])
    else:
        diagonal = _full_diagonal(detuning, eta)
    features = diagonal.permute(0, 2, 1, 3).flatten(2)
    return mixer.scale * mixer.out_proj(features), new_state


def _causal_diagonal(detuning: Tensor, eta: Tensor, chain: Tensor) -> tuple[Tensor, Tensor]:
    """g_i of a chain whose couplings are 1, both parts, and the one of the last site."""
    found = denominators(detuning, torch.ones_like(detuning), eta, chain)
    return torch.stack(reciprocal(found.x, found.q), -1), found.last


def _full_diagonal(detuning: Tensor, eta: Tensor) -> Tensor:
    """G_ii of the same: d_i, less what the sites behind add to it."""
    none, ones = detuning.new_zeros(*detuning.shape[:-1], 2), torch.ones_like(detuning)
    ahead = denominators(detuning, ones, eta, none)
    mirrored = denominators(detuning.flip(-1), ones, eta.flip(-1), none)
    real, imaginary = mirrored.before.flip(-2).unbind(-1)
    return torch.stack(reciprocal(ahead.x - real, ahead.q + imaginary), -1)


def _feed_forward(module: SwiGLU | Experts, inputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
    if not isinstance(module, Experts):
        added, nothing = module(inputs, None, None)
        return added, nothing
    experts, weights, new_state = _choose(module.gate, inputs, state)
    tokens = inputs.flatten(0, 1)
    choices = experts.shape[-1]
    chosen = experts.flatten()
    results = tokens.new_zeros(chosen.shape[0], tokens.shape[1])
    for number, expert in enumerate(module.experts):
        own = (chosen == number).nonzero().squeeze(-1)
        results = results.index_put((own,), expert(tokens[own // choices]))
    weighted = results.unflatten(0, (tokens.shape[0], choices)) * weights.flatten(0, 1).unsqueeze(-1)
    return weighted.sum(1).unflatten(0, inputs.shape[:2]), new_state


def _choose(gate: nn.Module, inputs: Tensor, state: LayerState) -> tuple[Tensor, Tensor, LayerState]:
    if not isinstance(gate, PhaseGate):
        experts, weights, nothing = gate(inputs, None, None)
        return experts, weights, nothing
    # The chain is one without energy and with a width of 1, as the operation has them by default.
    potential = gate.potential(inputs).transpose(1, 2)
    chain = state["router_chain"].unsqueeze(1)
    diagonal, last = _causal_diagonal(potential, torch.ones_like(potential), chain)
    experts, weights = gate.router(diagonal.squeeze(1))
    return experts, weights, {"router_chain": last.squeeze(1)}
