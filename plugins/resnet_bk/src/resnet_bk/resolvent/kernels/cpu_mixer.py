"""The compiled kernel of a layer between its projections: convolution, matrix state and output gate at once.

What it computes, and the order of its arrays, is written in `native/mixer.h` and `native/mixer_gradient.h`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from resnet_bk.resolvent.kernels.cpu_library import Library, Problem, block, load, operand

__all__ = ["Mixed", "MixerGradients", "MixerInputs", "mixer", "mixer_backward"]

# Sites between two stored states: so few that what is computed again for them stays in the first-level cache.
CHUNK = 32


class MixerInputs(NamedTuple):
    """What goes into the kernel, all of one type.

    Attributes:
        projected: Queries of all heads, their keys, values and gates, (B, N, 2 H K + 2 H P), contiguous.
        window: The first three before these, (B, taps - 1, 2 H K + H P), contiguous; None for zeros.
        taps: (2 H K + H P, taps), contiguous.
        bias: (2 H K + H P,), contiguous.
        skip: (H P,), contiguous.
        alpha: (B, H, N).
        beta: (B, H, N).
        initial: The state to go on from, (B, H, K, P); None for zeros.
    """

    projected: Tensor
    window: Tensor | None
    taps: Tensor
    bias: Tensor
    skip: Tensor
    alpha: Tensor
    beta: Tensor
    initial: Tensor | None

    @property
    def size(self) -> tuple[int, int]:
        """K and P, as far as the arrays belong together."""
        heads, channels, wide = self.alpha.shape[1], len(self.bias), len(self.skip)
        return (channels - wide) // (2 * heads), wide // heads

    @property
    def fit(self) -> bool:
        """Whether all shapes are those of one problem."""
        keys, values = self.size
        batch, heads, length = self.alpha.shape
        channels, taps = heads * (2 * keys + values), self.taps.shape[-1]
        wanted: list[tuple[int, ...]] = [
            (batch, length, channels + heads * values),
            (batch, taps - 1, channels),
            (channels, taps),
            (channels,),
            (heads * values,),
            (batch, heads, length),
            (batch, heads, length),
            (batch, heads, keys, values),
        ]
        pairs = zip(self, wanted, strict=True)
        return all(tensor is None or tensor.shape == shape for tensor, shape in pairs)


class Mixed(NamedTuple):
    """What comes out of it.

    Attributes:
        outputs: (B, N, H P).
        last: The last state, (B, H, K, P).
        read: The outputs before their gate; None if nothing is kept for the way back.
        kept: The states before each chunk, likewise.
        usable: Whether all values that the recurrence saw could be computed with.
    """

    outputs: Tensor
    last: Tensor
    read: Tensor | None
    kept: Tensor | None
    usable: bool


class MixerGradients(NamedTuple):
    """Gradients of what went in; None where there was no such input."""

    projected: Tensor
    window: Tensor | None
    taps: Tensor
    bias: Tensor
    skip: Tensor
    alpha: Tensor
    beta: Tensor
    initial: Tensor | None


def mixer(inputs: MixerInputs, *, keep: bool) -> Mixed:
    """Compute the outputs.

    Args:
        inputs: What goes in.
        keep: Whether a way back will follow.
    """
    library = load()
    problem = _problem(library, inputs)
    batch, heads, length = inputs.alpha.shape
    outputs = inputs.projected.new_empty(batch, length, len(inputs.skip))
    last = inputs.projected.new_empty(batch, heads, *inputs.size)
    read = torch.empty_like(outputs) if keep else None
    chunks = -(-length // CHUNK)
    kept = last.new_empty(batch, heads, chunks, *inputs.size) if keep else None
    bits = library.call(
        "mixer",
        inputs.projected.dtype,
        problem,
        [
            *(block(tensor) for tensor in inputs[:5]),
            operand(inputs.alpha, "t"),
            operand(inputs.beta, "t"),
            operand(inputs.initial, "rc"),
            block(outputs),
            block(read),
            operand(last, "rc"),
            block(kept),
        ],
    )
    return Mixed(outputs, last, read, kept, bits == 0)


def mixer_backward(
    inputs: MixerInputs, read: Tensor, kept: Tensor, outputs_cotangent: Tensor, last_cotangent: Tensor | None
) -> MixerGradients:
    """Compute the gradients.

    Args:
        inputs: What went in.
        read: What the way forward kept.
        kept: Likewise.
        outputs_cotangent: Of the outputs, contiguous.
        last_cotangent: Of the last state; None for zeros.
    """
    library = load()
    projected, window, taps, bias, skip, alpha, beta, initial = inputs
    batch = len(projected)
    gradients = MixerGradients(
        torch.empty_like(projected),
        None if window is None else torch.empty_like(window),
        taps.new_empty(batch, *taps.shape),
        bias.new_empty(batch, *bias.shape),
        skip.new_empty(batch, *skip.shape),
        torch.empty_like(alpha),
        torch.empty_like(beta),
        None if initial is None else torch.empty_like(initial),
    )
    library.call(
        "mixer_backward",
        projected.dtype,
        _problem(library, inputs),
        [
            *(block(tensor) for tensor in inputs[:5]),
            operand(alpha, "t"),
            operand(beta, "t"),
            *(block(tensor) for tensor in (read, kept, outputs_cotangent)),
            operand(last_cotangent, "rc"),
            *(block(tensor) for tensor in gradients[:5]),
            operand(gradients.alpha, "t"),
            operand(gradients.beta, "t"),
            operand(gradients.initial, "rc"),
        ],
    )
    return gradients._replace(
        taps=gradients.taps.sum(0), bias=gradients.bias.sum(0), skip=gradients.skip.sum(0)
    )


def _problem(library: Library, inputs: MixerInputs) -> Problem:
    *lead, length = inputs.alpha.shape
    problem = library.problem(lead, length, inputs.projected.dtype)
    problem.keys, problem.values = inputs.size
    problem.chunk, problem.taps = min(CHUNK, length), inputs.taps.shape[-1]
    return problem
