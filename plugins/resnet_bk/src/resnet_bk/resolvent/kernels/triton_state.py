"""The gated matrix state on a GPU, in Triton kernels that go over all chunks of all sequences at once.

Forward and back have three steps: what each chunk adds, a carry over the chunks, and the chunks' results.
"""

from __future__ import annotations

import math

import torch
import triton
from torch import Tensor

from resnet_bk.resolvent.kernels import triton_chunks
from resnet_bk.resolvent.kernels.protocol import StateGradients
from resnet_bk.resolvent.kernels.triton_gradients import gradients

__all__ = ["state", "state_backward"]

_CHUNK = 32
# Matrix products have sides of 16 at least.
_SIDE = 16
# The carry takes as many chunks and entries of a state at a time: one warp holds them in its registers.
_ROWS, _BLOCK = 16, 32
# Of a program for gradients: with fewer its matrices do not fit into the registers.
_WARPS = 8


class _Problem:
    """Shapes of a call, and its tensors as kernels take them."""

    def __init__(self, keys: Tensor, values: Tensor, alpha: Tensor) -> None:
        *lead, self.length = alpha.shape
        self.lead = tuple(lead)
        self.heads = lead[-1] if lead else 1
        self.lanes = math.prod(lead)
        self.chunks = triton.cdiv(self.length, _CHUNK)
        self.size = (keys.shape[-1], values.shape[-1])
        self.complex = alpha.is_complex()

    def rows(self, *tensors: Tensor) -> tuple[list[Tensor], list[int]]:
        """Tensors (..., N) and (..., N, channels), and their strides over samples, heads and sites."""
        found, strides = [], []
        for tensor in tensors:
            rest = tensor.shape[len(self.lead) :]
            plain = tensor.reshape(self.lanes // max(self.heads, 1), self.heads, *rest)
            if len(rest) == 2 and plain.stride(-1) != 1:
                plain = plain.contiguous()
            found.append(_numbers(plain))
            strides += found[-1].stride()[:3]
        return found, strides

    def result(self, like: Tensor, *channels: int) -> Tensor:
        """An empty result (..., N, channels); in memory the heads of a site lie side by side."""
        memory = like.new_empty((self.lanes // max(self.heads, 1), self.length, self.heads, *channels))
        return memory.transpose(1, 2).view(*self.lead, self.length, *channels)

    def around(self, end: Tensor | None, place: int, like: Tensor) -> Tensor:
        """Room for the states around the chunks of each lane, with the one at the given end in its place."""
        states = like.new_empty((self.lanes, self.chunks + 1, *self.size))
        states[:, place] = 0 if end is None else end.reshape(-1, *self.size)
        return states

    def carried(self, operands: list[Tensor], strides: list[int], states: Tensor, *, backwards: bool) -> None:
        """Fill in the states: what each chunk adds, and then all of what came before."""
        products = states.new_empty((self.lanes, self.chunks))
        how = {"BACKWARDS": backwards, "COMPLEX": self.complex, "enable_fp_fusion": True}
        triton_chunks.contribute[self.grid](
            *operands,
            _numbers(states),
            _numbers(products),
            self.length,
            self.heads,
            *strides,
            **how,
            **self.sizes,
        )
        size = math.prod(self.size)
        block = min(_BLOCK, int(triton.next_power_of_2(size)))
        triton_chunks.carry[(self.lanes * triton.cdiv(size, block),)](
            _numbers(states), _numbers(products), self.chunks, **how,
            SIZE=size, ROWS=_ROWS, BLOCK=block, num_warps=1,
        )  # fmt: skip

    @property
    def grid(self) -> tuple[int]:
        """One program for each chunk."""
        return (self.lanes * self.chunks,)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes a kernel is compiled for: a state's, and the powers of two that hold them."""
        keys, values = self.size
        padded = [max(_SIDE, int(triton.next_power_of_2(count))) for count in self.size]
        return {"T": _CHUNK, "KEYS": keys, "VALUES": values, "K": padded[0], "P": padded[1]}


def _numbers(tensor: Tensor) -> Tensor:
    """What a kernel reads: no conjugation or negation pending, complex numbers as pairs."""
    plain = tensor.resolve_conj().resolve_neg()
    return torch.view_as_real(plain) if plain.is_complex() else plain


def state(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    initial: Tensor | None,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `Kernel.state`. Kept are the states around the chunks, (lanes, chunks + 1, K, P)."""
    problem = _Problem(keys, values, alpha)
    states = problem.around(initial, 0, alpha)
    problem.carried(*problem.rows(keys, values, alpha, beta), states, backwards=False)
    operands, strides = problem.rows(queries, keys, values, alpha, beta)
    outputs = problem.result(values, problem.size[1])
    triton_chunks.outputs[problem.grid](
        *operands,
        _numbers(states),
        outputs,
        problem.length,
        problem.heads,
        *strides,
        COMPLEX=problem.complex,
        enable_fp_fusion=True,
        **problem.sizes,
    )
    last = states[:, -1].reshape(*problem.lead, *problem.size)
    return outputs, last.clone(), states if keep else None


def state_backward(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    kept: Tensor,
    output_cotangent: Tensor | None,
    last_cotangent: Tensor | None,
    *,
    with_initial: bool,
) -> StateGradients:
    """See `Kernel.state_backward`."""
    problem = _Problem(keys, values, alpha)
    cotangent = torch.zeros_like(values) if output_cotangent is None else output_cotangent
    cotangents = problem.around(last_cotangent, -1, alpha)
    problem.carried(*problem.rows(queries, cotangent, alpha, beta), cotangents, backwards=True)
    operands, strides = problem.rows(queries, keys, values, alpha, beta, cotangent)
    query, key = problem.result(queries, problem.size[0]), problem.result(keys, problem.size[0])
    value, gate, share = problem.result(values, problem.size[1]), problem.result(alpha), problem.result(beta)
    gradients[problem.grid](
        *operands,
        _numbers(kept),
        _numbers(cotangents),
        query,
        key,
        value,
        _numbers(gate),
        share,
        problem.length,
        problem.heads,
        *strides,
        COMPLEX=problem.complex,
        num_warps=_WARPS,
        enable_fp_fusion=True,
        **problem.sizes,
    )
    first = cotangents[:, 0].reshape(*problem.lead, *problem.size) if with_initial else None
    return StateGradients(query, key, value, gate, share, first)
