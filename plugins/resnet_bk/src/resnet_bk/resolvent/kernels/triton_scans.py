"""The recurrences as Triton kernels.

The continued fraction goes site by site, many lanes side by side; linear recurrences go in tiles of
sites, with an associative scan inside a tile.
"""

# ruff: noqa: N803  constants of a kernel are written in capitals, as Triton's users expect
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["denominators", "linear_scan", "reversed_linear_scan"]

_LANES = 32
_TILE = 32


@triton.jit
def _fractions(
    detuning, coupling, eta, before_real, before_imaginary, xs, qs, lanes, length, BLOCK: tl.constexpr
):
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = lane < lanes
    real = tl.load(before_real + lane, mask=here, other=0.0)
    imaginary = tl.load(before_imaginary + lane, mask=here, other=0.0)
    place = lane
    # Loads do not depend on the chain: some sites are on their way while one is computed.
    for _ in tl.range(0, length, num_stages=4):
        s = tl.load(coupling + place, mask=here, other=0.0)
        x = tl.load(detuning + place, mask=here, other=1.0) - s * real
        q = tl.load(eta + place, mask=here, other=1.0) + s * imaginary
        square = x * x + q * q
        real = x / square
        imaginary = q / square
        tl.store(xs + place, x, mask=here)
        tl.store(qs + place, q, mask=here)
        place += lanes


@triton.jit
def _compose(ar, ai, br, bi, cr, ci, dr, di):
    """First t -> a t + b, then t -> c t + d, complex."""
    return (
        cr * ar - ci * ai,
        cr * ai + ci * ar,
        cr * br - ci * bi + dr,
        cr * bi + ci * br + di,
    )


@triton.jit
def _linear(
    multiplier,
    addend,
    before,
    result,
    lanes,
    length,
    REVERSED: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
):
    """Complex numbers as pairs; t of the site before the first of a tile is carried from tile to tile."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = lane < lanes
    carry_real = tl.load(before + 2 * lane, mask=here, other=0.0)
    carry_imaginary = tl.load(before + 2 * lane + 1, mask=here, other=0.0)
    row = tl.arange(0, TILE)
    for start in range(0, length, TILE):
        step = start + row
        site = length - 1 - step if REVERSED else step
        inside = (step < length)[:, None] & here[None, :]
        place = 2 * (site.to(tl.int64)[:, None] * lanes + lane[None, :])
        # Past the end: the identity, so that the carry stays what it is.
        mr = tl.load(multiplier + place, mask=inside, other=1.0)
        mi = tl.load(multiplier + place + 1, mask=inside, other=0.0)
        br = tl.load(addend + place, mask=inside, other=0.0)
        bi = tl.load(addend + place + 1, mask=inside, other=0.0)
        pr, pi, sr, si = tl.associative_scan((mr, mi, br, bi), 0, _compose)
        tr = pr * carry_real[None, :] - pi * carry_imaginary[None, :] + sr
        ti = pr * carry_imaginary[None, :] + pi * carry_real[None, :] + si
        tl.store(result + place, tr, mask=inside)
        tl.store(result + place + 1, ti, mask=inside)
        last = (row == TILE - 1)[:, None]
        carry_real = tl.sum(tl.where(last, tr, 0.0), 0)
        carry_imaginary = tl.sum(tl.where(last, ti, 0.0), 0)


def _time_major(tensor: Tensor) -> Tensor:
    """(..., N) as (N, lanes), so that neighbouring lanes are neighbours in memory."""
    return tensor.reshape(-1, tensor.shape[-1]).t().contiguous()


def denominators(
    detuning: Tensor, coupling: Tensor, eta: Tensor, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """See `resnet_bk.resolvent.kernels.scans.denominators`."""
    detuning, coupling, eta = torch.broadcast_tensors(detuning, coupling, eta)
    shape, length = detuning.shape, detuning.shape[-1]
    rows = [_time_major(tensor) for tensor in (detuning, coupling, eta)]
    lanes = rows[0].shape[1]
    if before is None:
        start = [torch.zeros_like(rows[0][0])] * 2
    else:
        start = [part.expand(shape[:-1]).reshape(-1).contiguous() for part in before]
    results = [torch.empty_like(rows[0]) for _ in range(2)]
    _fractions[(triton.cdiv(lanes, _LANES),)](
        *rows, *start, *results, lanes, length, BLOCK=_LANES, num_warps=1
    )
    return results[0].t().reshape(shape), results[1].t().reshape(shape)


def _scan(multiplier: Tensor, addend: Tensor, start: Tensor | None, *, backwards: bool) -> Tensor:
    multiplier, addend = torch.broadcast_tensors(multiplier.to(addend.dtype), addend)
    shape, length = addend.shape, addend.shape[-1]
    factors, terms = (
        torch.view_as_real(_time_major(tensor.resolve_conj())) for tensor in (multiplier, addend)
    )
    lanes = terms.shape[1]
    if start is None:
        first = torch.zeros_like(terms[0])
    else:
        first = torch.view_as_real(start.resolve_conj().expand(shape[:-1]).reshape(-1).contiguous())
    result = torch.empty_like(terms)
    _linear[(triton.cdiv(lanes, _LANES),)](
        factors, terms, first, result, lanes, length, REVERSED=backwards, BLOCK=_LANES, TILE=_TILE
    )
    return torch.view_as_complex(result).t().reshape(shape)


def linear_scan(multiplier: Tensor, addend: Tensor, before: Tensor | None) -> Tensor:
    """See `resnet_bk.resolvent.kernels.scans.linear_scan`."""
    return _scan(multiplier, addend, before, backwards=False)


def reversed_linear_scan(multiplier: Tensor, addend: Tensor, after: Tensor | None) -> Tensor:
    """See `resnet_bk.resolvent.kernels.scans.reversed_linear_scan`."""
    return _scan(multiplier, addend, after, backwards=True)
