"""The gated matrix state as Triton kernels: one program a sequence, chunk by chunk, matrix products inside.

The formulas are those of `torch_state`, with the same names. Complex numbers are two tensors; with real
gates the second ones are not computed.
"""

# ruff: noqa: N803, N806  constants of a kernel are written in capitals, as Triton's users expect
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from resnet_bk.resolvent.kernels.protocol import StateGradients

__all__ = ["state", "state_backward"]

_CHUNK = 32
# Matrix products have sides of 16 at least.
_SIDE = 16


@triton.jit
def _multiply(a, b):
    return a * b


@triton.jit
def _multiply_complex(ar, ai, br, bi):
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
def _product(a, b):
    return tl.dot(a, b, input_precision="ieee", out_dtype=a.dtype)


@triton.jit
def _decay(gate_real, gate_imaginary, LAG: tl.constexpr, COMPLEX: tl.constexpr, T: tl.constexpr):
    """Products of the gates of sites j + 1 to i - LAG, 0 where i - LAG < j; `gate` has site i - LAG at i."""
    i = tl.arange(0, T)[:, None]
    j = tl.arange(0, T)[None, :]
    below = i - LAG > j
    real = tl.where(below, gate_real[:, None], 1.0)
    if COMPLEX:
        imaginary = tl.where(below, gate_imaginary[:, None], 0.0)
        real, imaginary = tl.associative_scan((real, imaginary), 0, _multiply_complex)
        imaginary = tl.where(i - LAG >= j, imaginary, 0.0)
    else:
        real = tl.associative_scan(real, 0, _multiply)
        imaginary = real
    return tl.where(i - LAG >= j, real, 0.0), imaginary


@triton.jit
def _row(matrix, index, T: tl.constexpr):
    return tl.sum(tl.where((tl.arange(0, T) == index)[:, None], matrix, 0.0), 0)


@triton.jit
def _column(matrix, index, T: tl.constexpr):
    return tl.sum(tl.where((tl.arange(0, T) == index)[None, :], matrix, 0.0), 1)


@triton.jit
def _entry(vector, index, T: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, T) == index, vector, 0.0), 0)


@triton.jit
def _load_gates(alpha, lane, length, site, inside, COMPLEX: tl.constexpr):
    """Past the end, and before the start, a gate is 1."""
    if COMPLEX:
        place = alpha + 2 * (lane * length + site)
        return tl.load(place, mask=inside, other=1.0), tl.load(place + 1, mask=inside, other=0.0)
    real = tl.load(alpha + lane * length + site, mask=inside, other=1.0)
    return real, real


@triton.jit
def _forward(
    queries, keys, values, alpha, first, outputs, last, kept, length, key_count, value_count,
    KEEP: tl.constexpr, COMPLEX: tl.constexpr, T: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, T)
    k_index = tl.arange(0, K)
    p_index = tl.arange(0, P)
    size = key_count * value_count
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    chunks = tl.cdiv(length, T)
    entries = k_index[:, None] * value_count + p_index[None, :]
    whole = (k_index < key_count)[:, None] & (p_index < value_count)[None, :]
    state_r = tl.load(first + lane * PARTS * size + entries, mask=whole, other=0.0)
    state_i = state_r
    if COMPLEX:
        state_i = tl.load(first + (lane * PARTS + 1) * size + entries, mask=whole, other=0.0)
    for chunk in range(chunks):
        site = chunk * T + row
        inside = site < length
        narrow = inside[:, None] & (k_index < key_count)[None, :]
        wide = inside[:, None] & (p_index < value_count)[None, :]
        narrow_place = (lane * length + site)[:, None] * key_count + k_index[None, :]
        wide_place = (lane * length + site)[:, None] * value_count + p_index[None, :]
        if KEEP:
            stored = kept + (lane * chunks + chunk) * PARTS * size + entries
            tl.store(stored, state_r, mask=whole)
            if COMPLEX:
                tl.store(stored + size, state_i, mask=whole)
        q = tl.load(queries + narrow_place, mask=narrow, other=0.0)
        k = tl.load(keys + narrow_place, mask=narrow, other=0.0)
        v = tl.load(values + wide_place, mask=wide, other=0.0)
        gate_r, gate_i = _load_gates(alpha, lane, length, site, inside, COMPLEX)
        decay_r, decay_i = _decay(gate_r, gate_i, 0, COMPLEX, T)
        start_r = _entry(gate_r, 0, T)
        column_r = _column(decay_r, 0, T)
        rest_r = _row(decay_r, T - 1, T)
        scores = _product(q, tl.trans(k)) * decay_r
        if COMPLEX:
            start_i = _entry(gate_i, 0, T)
            column_i = _column(decay_i, 0, T)
            rest_i = _row(decay_i, T - 1, T)
            reach_r = start_r * column_r - start_i * column_i
            reach_i = start_r * column_i + start_i * column_r
            read = reach_r[:, None] * _product(q, state_r) - reach_i[:, None] * _product(q, state_i)
            all_r = _entry(reach_r, T - 1, T)
            all_i = _entry(reach_i, T - 1, T)
            before = state_r
            state_r = all_r * before - all_i * state_i + _product(tl.trans(rest_r[:, None] * k), v)
            state_i = all_r * state_i + all_i * before + _product(tl.trans(rest_i[:, None] * k), v)
        else:
            reach_r = start_r * column_r
            read = reach_r[:, None] * _product(q, state_r)
            state_r = _entry(reach_r, T - 1, T) * state_r + _product(tl.trans(rest_r[:, None] * k), v)
        tl.store(outputs + wide_place, _product(scores, v) + read, mask=wide)
    tl.store(last + lane * PARTS * size + entries, state_r, mask=whole)
    if COMPLEX:
        tl.store(last + (lane * PARTS + 1) * size + entries, state_i, mask=whole)


@triton.jit
def _backward(
    queries, keys, values, alpha, kept, cotangents, after, query_out, key_out, value_out, gate_out, first_out,
    length, key_count, value_count,
    COMPLEX: tl.constexpr, T: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, T)
    k_index = tl.arange(0, K)
    p_index = tl.arange(0, P)
    size = key_count * value_count
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    chunks = tl.cdiv(length, T)
    entries = k_index[:, None] * value_count + p_index[None, :]
    whole = (k_index < key_count)[:, None] & (p_index < value_count)[None, :]
    after_r = tl.load(after + lane * PARTS * size + entries, mask=whole, other=0.0)
    after_i = after_r
    if COMPLEX:
        after_i = tl.load(after + (lane * PARTS + 1) * size + entries, mask=whole, other=0.0)
    for step in range(chunks):
        chunk = chunks - 1 - step
        site = chunk * T + row
        inside = site < length
        narrow = inside[:, None] & (k_index < key_count)[None, :]
        wide = inside[:, None] & (p_index < value_count)[None, :]
        narrow_place = (lane * length + site)[:, None] * key_count + k_index[None, :]
        wide_place = (lane * length + site)[:, None] * value_count + p_index[None, :]
        q = tl.load(queries + narrow_place, mask=narrow, other=0.0)
        k = tl.load(keys + narrow_place, mask=narrow, other=0.0)
        v = tl.load(values + wide_place, mask=wide, other=0.0)
        cot = tl.load(cotangents + wide_place, mask=wide, other=0.0)
        stored = kept + (lane * chunks + chunk) * PARTS * size + entries
        before_r = tl.load(stored, mask=whole, other=0.0)
        gate_r, gate_i = _load_gates(alpha, lane, length, site, inside, COMPLEX)
        # Gates one site earlier; the chunk's first site has none before it here.
        earlier_r, earlier_i = _load_gates(
            alpha, lane, length, site - 1, (site - 1 < length) & (row > 0), COMPLEX
        )
        decay_r, decay_i = _decay(gate_r, gate_i, 0, COMPLEX, T)
        early_r, early_i = _decay(earlier_r, earlier_i, 1, COMPLEX, T)
        scores = _product(q, tl.trans(k))
        products = _product(cot, tl.trans(v))
        weights = scores * products
        start_r = _entry(gate_r, 0, T)
        column_r = _column(decay_r, 0, T)
        early_column_r = _column(early_r, 0, T)
        rest_r = _row(decay_r, T - 1, T)
        state_r = _product(cot, tl.trans(before_r))
        key_end_r = _product(v, tl.trans(after_r))
        pair_r = _product(tl.trans(decay_r), weights)
        reads_r = tl.sum(q * state_r, 1)
        ends_r = tl.sum(k * key_end_r, 1)
        query = _product(products * decay_r, k)
        key = _product(tl.trans(products * decay_r), q)
        value = _product(tl.trans(scores * decay_r), cot) + rest_r[:, None] * _product(k, after_r)
        gate_place = gate_out + lane * length + site
        if COMPLEX:
            before_i = tl.load(stored + size, mask=whole, other=0.0)
            start_i = _entry(gate_i, 0, T)
            column_i = _column(decay_i, 0, T)
            early_column_i = _column(early_i, 0, T)
            rest_i = _row(decay_i, T - 1, T)
            state_i = _product(cot, tl.trans(before_i))
            key_end_i = _product(v, tl.trans(after_i))
            pair_i = _product(tl.trans(decay_i), weights)
            reads_i = tl.sum(q * state_i, 1)
            ends_i = tl.sum(k * key_end_i, 1)
            reach_r = start_r * column_r - start_i * column_i
            reach_i = start_r * column_i + start_i * column_r
            early_reach_r = tl.where(row == 0, 1.0, start_r * early_column_r - start_i * early_column_i)
            early_reach_i = tl.where(row == 0, 0.0, start_r * early_column_i + start_i * early_column_r)
            query += reach_r[:, None] * state_r - reach_i[:, None] * state_i
            key += rest_r[:, None] * key_end_r + rest_i[:, None] * key_end_i
            value += rest_i[:, None] * _product(k, after_i)
            # Each of the four sums without its conjugation; the gradient is the conjugate of their total.
            total_r = tl.sum(pair_r * early_r - pair_i * early_i, 1)
            total_i = tl.sum(pair_r * early_i + pair_i * early_r, 1)
            onto_r = tl.sum(tl.trans(decay_r) * reads_r[None, :] - tl.trans(decay_i) * reads_i[None, :], 1)
            onto_i = tl.sum(tl.trans(decay_r) * reads_i[None, :] + tl.trans(decay_i) * reads_r[None, :], 1)
            total_r += early_reach_r * onto_r - early_reach_i * onto_i
            total_i += early_reach_r * onto_i + early_reach_i * onto_r
            enter_r = tl.sum(early_r * ends_r[None, :] + early_i * ends_i[None, :], 1)
            enter_i = tl.sum(early_i * ends_r[None, :] - early_r * ends_i[None, :], 1)
            total_r += rest_r * enter_r - rest_i * enter_i
            total_i += rest_r * enter_i + rest_i * enter_r
            one_r = tl.sum(tl.sum(before_r * after_r + before_i * after_i, 1), 0)
            one_i = tl.sum(tl.sum(before_i * after_r - before_r * after_i, 1), 0)
            cross_r = early_reach_r * rest_r - early_reach_i * rest_i
            cross_i = early_reach_r * rest_i + early_reach_i * rest_r
            total_r += cross_r * one_r - cross_i * one_i
            total_i += cross_r * one_i + cross_i * one_r
            gate_place = gate_out + 2 * (lane * length + site)
            tl.store(gate_place + 1, -total_i, mask=inside)
            all_r = _entry(reach_r, T - 1, T)
            all_i = _entry(reach_i, T - 1, T)
            later = after_r
            after_r = all_r * later + all_i * after_i + _product(tl.trans(reach_r[:, None] * q), cot)
            after_i = all_r * after_i - all_i * later - _product(tl.trans(reach_i[:, None] * q), cot)
        else:
            reach_r = start_r * column_r
            early_reach_r = tl.where(row == 0, 1.0, start_r * early_column_r)
            query += reach_r[:, None] * state_r
            key += rest_r[:, None] * key_end_r
            total_r = tl.sum(pair_r * early_r, 1)
            total_r += early_reach_r * tl.sum(tl.trans(decay_r) * reads_r[None, :], 1)
            total_r += rest_r * tl.sum(early_r * ends_r[None, :], 1)
            total_r += early_reach_r * rest_r * tl.sum(tl.sum(before_r * after_r, 1), 0)
            after_r = _entry(reach_r, T - 1, T) * after_r + _product(tl.trans(reach_r[:, None] * q), cot)
        tl.store(gate_place, total_r, mask=inside)
        tl.store(query_out + narrow_place, query, mask=narrow)
        tl.store(key_out + narrow_place, key, mask=narrow)
        tl.store(value_out + wide_place, value, mask=wide)
    tl.store(first_out + lane * PARTS * size + entries, after_r, mask=whole)
    if COMPLEX:
        tl.store(first_out + (lane * PARTS + 1) * size + entries, after_i, mask=whole)


def _planes(tensor: Tensor) -> Tensor:
    """A state (..., K, P) as (lanes, parts, K, P): real and imaginary part one after the other."""
    flat = tensor.reshape(-1, *tensor.shape[-2:])
    if not flat.is_complex():
        return flat.unsqueeze(1).contiguous()
    return torch.stack([flat.real, flat.imag], 1).contiguous()


def _joined(planes: Tensor, lead: tuple[int, ...]) -> Tensor:
    """The inverse of `_planes`."""
    parts = planes.unbind(1)
    whole = parts[0] if len(parts) == 1 else torch.complex(*parts)
    return whole.reshape(*lead, *whole.shape[-2:])


def _gates(alpha: Tensor) -> Tensor:
    plain = alpha.resolve_conj().contiguous()
    return torch.view_as_real(plain) if plain.is_complex() else plain


def _padded(count: int) -> int:
    return max(_SIDE, int(triton.next_power_of_2(count)))


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
    """See `Kernel.state`. Kept are the states before each chunk, (lanes, chunks, parts, K, P)."""
    *lead, length = alpha.shape
    size = (keys.shape[-1], values.shape[-1])
    first = _planes(alpha.new_zeros((*lead, *size)) if initial is None else initial)
    outputs, last = torch.empty_like(values, memory_format=torch.contiguous_format), torch.empty_like(first)
    lanes, parts = first.shape[:2]
    chunks = triton.cdiv(length, _CHUNK)
    kept = first.new_empty((lanes, chunks, parts, *size)) if keep else first
    scaled = keys * beta.sqrt().unsqueeze(-1)
    _forward[(lanes,)](
        queries.contiguous(),
        scaled.contiguous(),
        values.contiguous(),
        _gates(alpha),
        first,
        outputs,
        last,
        kept,
        length,
        *size,
        KEEP=keep,
        COMPLEX=alpha.is_complex(),
        T=_CHUNK,
        K=_padded(size[0]),
        P=_padded(size[1]),
    )
    return outputs, _joined(last, tuple(lead)), kept if keep else None


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
    *lead, length = alpha.shape
    size = (keys.shape[-1], values.shape[-1])
    after = _planes(alpha.new_zeros((*lead, *size)) if last_cotangent is None else last_cotangent)
    cotangent = torch.zeros_like(values) if output_cotangent is None else output_cotangent
    root = beta.sqrt().unsqueeze(-1)
    gates = _gates(alpha)
    query, key, value = (
        torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (queries, keys, values)
    )
    gate, first = torch.empty_like(gates), torch.empty_like(after)
    _backward[(len(after),)](
        queries.contiguous(),
        (keys * root).contiguous(),
        values.contiguous(),
        gates,
        kept,
        cotangent.contiguous(),
        after,
        query,
        key,
        value,
        gate,
        first,
        length,
        *size,
        COMPLEX=alpha.is_complex(),
        T=_CHUNK,
        K=_padded(size[0]),
        P=_padded(size[1]),
    )
    return StateGradients(
        query,
        key * root,
        value,
        torch.view_as_complex(gate) if alpha.is_complex() else gate,
        (key * keys).sum(-1) / (2 * root.squeeze(-1)),
        _joined(first, tuple(lead)) if with_initial else None,
    )
