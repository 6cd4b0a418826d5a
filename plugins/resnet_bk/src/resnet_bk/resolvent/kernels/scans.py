"""Recurrences over the sites, in PyTorch operations on whole chunks: about 3 sqrt(N) of them instead of N.

A sequence is cut into chunks. What a chunk does to whatever enters it is found for all chunks at once; one
pass over the chunks finds what enters each; then all chunks run at once from there. While a model is exported
there is one chunk: a plain loop over the sites in real numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from resnet_bk.resolvent.selection import exporting

__all__ = ["denominators", "linear_scan", "reversed_linear_scan"]

# Below this many sites a plain loop is faster.
SHORT = 32
# Each step squares the relative error, which is far below 1 from the start.
NEWTON_STEPS = 4
ROUNDING = 1e-14


def denominators(
    detuning: Tensor, coupling: Tensor, eta: Tensor, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """The continued fraction d_i = detuning_i - i eta_i - s_i / d_{i-1} as x and q, d = x - i q.

    Args:
        detuning: Potential less energy, (..., N).
        coupling: s_i, (..., N); the first counts only with `before`.
        eta: Width, (..., N).
        before: Real and imaginary part of 1 / d before the first site, (...); None if there is none.
    """
    detuning, coupling, eta = torch.broadcast_tensors(detuning, coupling, eta)
    length = detuning.shape[-1]
    zero = torch.zeros_like(detuning[..., 0])
    real, imaginary = before if before is not None else (zero, zero)
    if length <= SHORT or exporting():
        return _sweep(detuning.unbind(-1), coupling.unbind(-1), eta.unbind(-1), real, imaginary)
    chunk = max(1, round(math.sqrt(length / 2)))
    sites, links, widths = (_cut(tensor, chunk) for tensor in (detuning, coupling, eta))
    start = _entering(sites, links, widths, torch.complex(real, imaginary))
    start = start.to(torch.complex(zero, zero).dtype)
    x, q = _sweep(sites.unbind(0), links.unbind(0), widths.unbind(0), start.real, start.imag)
    return x.flatten(-2)[..., :length], q.flatten(-2)[..., :length]


def _sweep(
    detuning: tuple[Tensor, ...],
    coupling: tuple[Tensor, ...],
    eta: tuple[Tensor, ...],
    real: Tensor,
    imaginary: Tensor,
) -> tuple[Tensor, Tensor]:
    """The fraction site by site. The imaginary part is a sum of positive terms: nothing cancels in it."""
    xs, qs = [], []
    for site, s, width in zip(detuning, coupling, eta, strict=True):
        x = site - s * real
        q = width + s * imaginary
        inverse = 1 / (x * x + q * q)
        real, imaginary = x * inverse, q * inverse
        xs.append(x)
        qs.append(q)
    return torch.stack(xs, -1), torch.stack(qs, -1)


def _entering(detuning: Tensor, coupling: Tensor, eta: Tensor, before: Tensor) -> Tensor:
    """1 / d before each chunk, (..., chunks), in double precision.

    An estimate from the chunks by themselves, then Newton's method for what is left: where one chunk ends is
    where the next begins (multiple shooting). The estimate loses digits in chains whose pieces are near
    resonance; a step or two bring them back.
    """
    diagonal = torch.complex(detuning.double(), -eta.double()).unbind(0)
    s = coupling.double().unbind(0)
    entering = _estimate(diagonal, s, before.to(diagonal[0].dtype))
    for _ in range(NEWTON_STEPS):
        value, slope = entering, torch.ones_like(entering)
        for site, product in zip(diagonal, s, strict=True):
            value = 1 / (site - product * value)
            slope = slope * product * value * value
        gaps = value[..., :-1] - entering[..., 1:]
        correction = [torch.zeros_like(entering[..., 0])]
        for gap, steepness in zip(gaps.unbind(-1), slope.unbind(-1), strict=False):
            correction.append(gap + steepness * correction[-1])
        entering = entering + torch.stack(correction, -1)
        if bool((gaps.abs() <= ROUNDING * entering[..., 1:].abs()).all()):
            break
    return entering


def _estimate(diagonal: tuple[Tensor, ...], s: tuple[Tensor, ...], before: Tensor) -> Tensor:
    """The values before each chunk, from the resolvents of the chunks by themselves.

    A chunk, first site l and last site r, is known by three entries of its resolvent: G_rr, G_ll and G_lr
    G_rl, all bounded by powers of 1 / eta. A neighbour on the left with g adds G_lr G_rl S / (1 - S G_ll) to
    G_rr, S = s_l g.
    """
    last = first = 1 / diagonal[0]
    through = last * last
    for site, product in zip(diagonal[1:], s[1:], strict=True):
        last = 1 / (site - product * last)
        reach = product * through * last
        first = first + reach
        through = reach * last
    entering = [before]
    pieces = (tensor.unbind(-1) for tensor in (last, first, through, s[0]))
    for end, begin, across, link in list(zip(*pieces, strict=True))[:-1]:
        outside = link * entering[-1]
        entering.append(end + across * outside / (1 - outside * begin))
    return torch.stack(entering, -1)


def linear_scan(multiplier: Tensor, addend: Tensor, before: Tensor | None) -> Tensor:
    """The recurrence t_i = multiplier_i t_{i-1} + addend_i along the last dimension.

    Args:
        multiplier: (..., N), broadcast against the addend.
        addend: (..., N), complex.
        before: t before the first site, (...); None for 0.
    """
    length, dtype = addend.shape[-1], addend.dtype
    multiplier, addend = torch.broadcast_tensors(multiplier, addend)
    chunk = max(1, round(math.sqrt(length / 2)))
    factors = _cut(multiplier.to(torch.complex128), chunk).unbind(0)
    terms = _cut(addend.to(torch.complex128), chunk).unbind(0)
    products, responses = [factors[0]], [terms[0]]
    for factor, term in zip(factors[1:], terms[1:], strict=True):
        products.append(factor * products[-1])
        responses.append(factor * responses[-1] + term)
    start = torch.zeros_like(terms[0][..., 0]) if before is None else before.to(torch.complex128)
    entering = [start.expand_as(terms[0][..., 0])]
    for product, response in list(zip(products[-1].unbind(-1), responses[-1].unbind(-1), strict=True))[:-1]:
        entering.append(product * entering[-1] + response)
    starts = torch.stack(entering, -1)
    values = torch.stack([r + p * starts for p, r in zip(products, responses, strict=True)], 0)
    return _join(values, length).to(dtype)


def reversed_linear_scan(multiplier: Tensor, addend: Tensor, after: Tensor | None) -> Tensor:
    """The recurrence t_i = multiplier_i t_{i+1} + addend_i, from the last site to the first."""
    return linear_scan(multiplier.flip(-1), addend.flip(-1), after).flip(-1)


def _cut(tensor: Tensor, chunk: int) -> Tensor:
    """(..., N) as (chunk, ..., chunks); what is missing in the last chunk is 0."""
    chunks = -(-tensor.shape[-1] // chunk)
    padded = functional.pad(tensor, (0, chunks * chunk - tensor.shape[-1]))
    return padded.unflatten(-1, (chunks, chunk)).movedim(-1, 0).contiguous()


def _join(pieces: Tensor, length: int) -> Tensor:
    """The inverse of `_cut`."""
    return pieces.movedim(0, -1).flatten(-2)[..., :length]
