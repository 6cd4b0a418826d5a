"""The recurrences as Triton kernels.

The continued fraction goes site by site, many lanes side by side, and loads sites long before it needs them.
A linear recurrence goes over all tiles of sites at once, three times: what each tile does to whatever enters
it; what enters each, which is the same problem with a tile for a site; and the sites of each from there.
"""

# ruff: noqa: N803  constants of a kernel are written in capitals, as Triton's users expect
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from resnet_bk.resolvent.kernels.triton_chunks import compose_complex

__all__ = ["denominators", "linear_scan", "reversed_linear_scan"]

_LANES = 32
# Sites a step of the fraction's loop takes, and steps whose sites are on their way at a time.
_UNROLLED = 16
_STEPS_AHEAD = 3
# Sites of a tile; few sites take a small one.
_TILE, _SMALL_TILE = 256, 32


@triton.jit(do_not_specialize=["lanes", "length"])
def _fractions(
    detuning, coupling, eta, before_real, before_imaginary, xs, qs, lanes, length,
    BLOCK: tl.constexpr, UNROLLED: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = lane < lanes
    real = tl.load(before_real + lane, mask=here, other=0.0)
    imaginary = tl.load(before_imaginary + lane, mask=here, other=0.0)
    place = lane
    end = length.to(tl.int64) * lanes
    # Loads do not depend on the chain: the sites of later steps are on their way while one is computed.
    for _ in tl.range(0, length, UNROLLED, num_stages=AHEAD):
        for _ in tl.static_range(UNROLLED):
            inside = here & (place < end)
            s = tl.load(coupling + place, mask=inside, other=0.0)
            x = tl.load(detuning + place, mask=inside, other=1.0) - s * real
            q = tl.load(eta + place, mask=inside, other=1.0) + s * imaginary
            inverse = 1 / (x * x + q * q)
            real = x * inverse
            imaginary = q * inverse
            tl.store(xs + place, x, mask=inside)
            tl.store(qs + place, q, mask=inside)
            place += lanes


@triton.jit
def _tile(
    multiplier, addend, length, origin, step, multiplier_lane, multiplier_site, addend_lane, addend_site,
    TILE: tl.constexpr,
):  # fmt: skip
    """The maps of the sites of a tile, complex numbers as pairs; past the end they are the identity.

    The recurrence's first site is `origin`, and it goes on by `step`, 1 or -1.
    """
    tiles = tl.cdiv(length, TILE)
    program = tl.program_id(0).to(tl.int64)
    lane = program // tiles
    tile = program % tiles
    index = tile * TILE + tl.arange(0, TILE)
    inside = index < length
    site = origin + step * index
    factor = multiplier + lane * multiplier_lane + site * multiplier_site
    term = addend + lane * addend_lane + site * addend_site
    mr = tl.load(factor, mask=inside, other=1.0)
    mi = tl.load(factor + 1, mask=inside, other=0.0)
    br = tl.load(term, mask=inside, other=0.0)
    bi = tl.load(term + 1, mask=inside, other=0.0)
    return lane, tile, site, inside, mr, mi, br, bi


# No variant is compiled for these.
_PLACES = ["length", "origin", "step", "multiplier_lane", "multiplier_site", "addend_lane", "addend_site"]


@triton.jit(do_not_specialize=_PLACES)
def _tile_maps(
    multiplier, addend, factors, terms, length, origin, step,
    multiplier_lane, multiplier_site, addend_lane, addend_site,
    TILE: tl.constexpr,
):  # fmt: skip
    """What each tile does to whatever enters it."""
    lane, tile, _, _, mr, mi, br, bi = _tile(
        multiplier, addend, length, origin, step,
        multiplier_lane, multiplier_site, addend_lane, addend_site, TILE,
    )  # fmt: skip
    mr, mi, br, bi = tl.associative_scan((mr, mi, br, bi), 0, compose_complex)
    last = tl.arange(0, TILE) == TILE - 1
    place = 2 * (lane * tl.cdiv(length, TILE) + tile)
    tl.store(factors + place, tl.sum(tl.where(last, mr, 0.0), 0))
    tl.store(factors + place + 1, tl.sum(tl.where(last, mi, 0.0), 0))
    tl.store(terms + place, tl.sum(tl.where(last, br, 0.0), 0))
    tl.store(terms + place + 1, tl.sum(tl.where(last, bi, 0.0), 0))


@triton.jit(do_not_specialize=[*_PLACES, "result_lane", "result_site"])
def _tile_values(
    multiplier, addend, before, ends, result, length, origin, step,
    multiplier_lane, multiplier_site, addend_lane, addend_site, result_lane, result_site,
    TILE: tl.constexpr,
):  # fmt: skip
    """The values at the sites of each tile, from the end of the tile before it, or from the start."""
    lane, tile, site, inside, mr, mi, br, bi = _tile(
        multiplier, addend, length, origin, step,
        multiplier_lane, multiplier_site, addend_lane, addend_site, TILE,
    )  # fmt: skip
    start = before + 2 * lane
    end = ends + 2 * (lane * tl.cdiv(length, TILE) + tl.maximum(tile - 1, 0))
    tr = tl.where(tile == 0, tl.load(start), tl.load(end))
    ti = tl.where(tile == 0, tl.load(start + 1), tl.load(end + 1))
    # What enters becomes a part of the first site's term.
    first = tl.arange(0, TILE) == 0
    br = tl.where(first, br + mr * tr - mi * ti, br)
    bi = tl.where(first, bi + mr * ti + mi * tr, bi)
    mr, mi, br, bi = tl.associative_scan((mr, mi, br, bi), 0, compose_complex)
    place = result + lane * result_lane + site * result_site
    tl.store(place, br, mask=inside)
    tl.store(place + 1, bi, mask=inside)


def _time_major(tensor: Tensor) -> Tensor:
    """(..., N) as (N, lanes), so that neighbouring lanes are neighbours in memory."""
    length = tensor.shape[-1]
    return tensor.movedim(-1, 0).reshape(length, tensor.numel() // length).contiguous()


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
        *rows,
        *start,
        *results,
        lanes,
        length,
        BLOCK=_LANES,
        UNROLLED=_UNROLLED,
        AHEAD=_STEPS_AHEAD,
        num_warps=1,
        enable_fp_fusion=True,
    )
    return results[0].t().reshape(shape), results[1].t().reshape(shape)


def _tiled(factors: Tensor, terms: Tensor, start: Tensor, *, backwards: bool) -> Tensor:
    """The recurrence on pairs: (lanes, N, 2), and (lanes, 2) before the first site."""
    lanes, length = terms.shape[:2]
    how = {"TILE": _TILE if length > _SMALL_TILE else _SMALL_TILE, "enable_fp_fusion": True}
    tiles = triton.cdiv(length, how["TILE"])
    places = (
        length,
        *((length - 1, -1) if backwards else (0, 1)),
        *factors.stride()[:2],
        *terms.stride()[:2],
    )
    result = torch.empty_like(terms)
    ends = start
    if tiles > 1:
        tile_factors, tile_terms = terms.new_empty((lanes, tiles, 2)), terms.new_empty((lanes, tiles, 2))
        _tile_maps[(lanes * tiles,)](factors, terms, tile_factors, tile_terms, *places, **how)
        ends = _tiled(tile_factors, tile_terms, start, backwards=False)
    _tile_values[(lanes * tiles,)](factors, terms, start, ends, result, *places, *result.stride()[:2], **how)
    return result


def _scan(multiplier: Tensor, addend: Tensor, start: Tensor | None, *, backwards: bool) -> Tensor:
    multiplier, addend = torch.broadcast_tensors(multiplier.to(addend.dtype), addend)
    shape, length = addend.shape, addend.shape[-1]
    lanes = addend.numel() // length
    factors, terms = (
        torch.view_as_real(tensor.reshape(lanes, length).resolve_conj()) for tensor in (multiplier, addend)
    )
    if start is None:
        first = terms.new_zeros((lanes, 2))
    else:
        first = torch.view_as_real(start.resolve_conj().expand(shape[:-1]).reshape(-1).contiguous())
    result = _tiled(factors, terms, first, backwards=backwards)
    return torch.view_as_complex(result).reshape(shape)


def linear_scan(multiplier: Tensor, addend: Tensor, before: Tensor | None) -> Tensor:
    """See `resnet_bk.resolvent.kernels.scans.linear_scan`."""
    return _scan(multiplier, addend, before, backwards=False)


def reversed_linear_scan(multiplier: Tensor, addend: Tensor, after: Tensor | None) -> Tensor:
    """See `resnet_bk.resolvent.kernels.scans.reversed_linear_scan`."""
    return _scan(multiplier, addend, after, backwards=True)
