"""The gated matrix state, for users: whole sequences, pieces of them, or one site at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent import functions
from resnet_bk.resolvent.inputs import prepare_sites
from resnet_bk.resolvent.kernels.limits import Requirement, limits_of, verify
from resnet_bk.resolvent.selection import kernel_name, kernel_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GatedState", "gated_state", "gated_state_step"]


class GatedState(NamedTuple):
    """What the gated matrix state gives.

    Attributes:
        outputs: o, (..., N, P); (..., P) for a single step.
        state: The last state, (..., K, P): pass it as `initial` to go on from there.
    """

    outputs: Tensor
    state: Tensor


def gated_state(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    initial: Tensor | None = None,
    kernel: str = "auto",
) -> GatedState:
    """A matrix state in normal form, written by keys and values and read by queries, in O(N).

    R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T,   o_i = (Re R_i)^T q_i.

    With the gates of `causal_gates` every entry of R is a unit-norm combination of the k v^T seen so far, so
    it stays bounded however long the sequence. Computed in float32 at least; outputs take the type of
    `values`. Memory for training is one state for each 64 sites.

    Args:
        queries: q, (..., N, K), real.
        keys: k, (..., N, K), real.
        values: v, (..., N, P), real.
        alpha: (..., N), real or complex.
        beta: (..., N), positive.
        initial: The state to go on from, (..., K, P), complex if alpha is; left out, zeros.
        kernel: See `green_diagonal`.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    sites = prepare_sites(
        {"alpha": alpha, "beta": beta}, {"queries": queries, "keys": keys, "values": values}, "values"
    )
    if queries.shape[-1] != keys.shape[-1]:
        raise InvalidInputError(
            f"`queries` has {queries.shape[-1]} channels, and `keys` {keys.shape[-1]}", tensor="queries"
        )
    chosen = kernel_name(sites.device, kernel)
    kind = sites.complex_dtype if alpha.is_complex() else sites.dtype
    q, k, v = (
        sites.channels(name, tensor)
        for name, tensor in (("queries", queries), ("keys", keys), ("values", values))
    )
    share = sites.real("beta", beta)
    gate = sites.gate("alpha", alpha, kind)
    size = (keys.shape[-1], values.shape[-1])
    before = None if initial is None else sites.state("initial", initial, size, kind)
    limits = limits_of(sites.dtype)
    named = [("queries", q), ("keys", k), ("values", v), ("alpha", gate)]
    if chosen != "cpu":
        verify([*((Requirement.finite(n, limits), t) for n, t in named), (Requirement.share(limits), share)])
    verify([(Requirement.finite("initial", limits), before)])
    training = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (q, k, v, gate, share, before)
    )
    outputs, last = functions.GatedState.compute(kernel_of(chosen), training, q, k, v, gate, share, before)
    return GatedState(sites.restore(outputs, 2).to(values.dtype), sites.restore(last, 2))


def gated_state_step(
    state: Tensor,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    kernel: str = "auto",
) -> GatedState:
    """One site of `gated_state`, for decoding: the same arguments without the dimension N.

    Args:
        state: R of the site before, (..., K, P); zeros at the start.
        queries: (..., K).
        keys: (..., K).
        values: (..., P).
        alpha: (...).
        beta: (...).
        kernel: See `green_diagonal`.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    outputs, last = gated_state(
        queries.unsqueeze(-2),
        keys.unsqueeze(-2),
        values.unsqueeze(-2),
        alpha.unsqueeze(-1),
        beta.unsqueeze(-1),
        initial=state,
        kernel=kernel,
    )
    return GatedState(outputs.squeeze(-2), last)
