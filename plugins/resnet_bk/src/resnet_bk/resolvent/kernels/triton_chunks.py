"""The gated matrix state as Triton kernels: all chunks of all sequences at once, but for a carry over chunks.

A chunk's own contribution to the state; the carry, each entry of the state by itself; the outputs of a chunk
from the state before it. The way back has the same three steps, its last one in `triton_gradients`. A lane is
one sequence of one head. Queries, keys, values and gates lie in memory as they come; results have heads side
by side: (batch, N, heads, channels).
"""

# ruff: noqa: N803, N806  constants of a kernel are written in capitals, as Triton's users expect
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "carry",
    "channels",
    "compose_complex",
    "contribute",
    "decay",
    "entry",
    "gates",
    "lane_offset",
    "multiply",
    "multiply_complex",
    "outputs",
    "plain_integers",
    "product",
    "result_rows",
]


def plain_integers(*tensors: str) -> list[str]:
    """Arguments no variant is compiled for: lengths, and strides of tensors."""
    return ["length", "heads", *(f"{name}_{step}" for name in tensors for step in ("outer", "inner", "site"))]


@triton.jit
def multiply(a, b):
    """For scans of real gates."""
    return a * b


@triton.jit
def multiply_complex(ar, ai, br, bi):
    """For scans of complex gates."""
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
def _compose(a, b, c, d):
    """First t -> a t + b, then t -> c t + d."""
    return c * a, c * b + d


@triton.jit
def compose_complex(ar, ai, br, bi, cr, ci, dr, di):
    """The same of complex numbers, as pairs."""
    return (
        cr * ar - ci * ai,
        cr * ai + ci * ar,
        cr * br - ci * bi + dr,
        cr * bi + ci * br + di,
    )


@triton.jit
def product(a, b):
    """A matrix product, in the full precision of its factors."""
    return tl.dot(a, b, input_precision="ieee", out_dtype=a.dtype)


@triton.jit
def entry(vector, index, T: tl.constexpr):
    """One entry of a vector of T."""
    return tl.sum(tl.where(tl.arange(0, T) == index, vector, 0.0), 0)


@triton.jit
def lane_offset(lane, heads, outer, inner):
    """Where a lane starts: `outer` from one sample to the next, `inner` from one head to the next."""
    return (lane // heads) * outer + (lane % heads) * inner


@triton.jit
def channels(rows, WIDTH: tl.constexpr):
    """Places of the channels of rows."""
    return rows[:, None] + tl.arange(0, WIDTH)[None, :]


@triton.jit
def result_rows(lane, heads, site, length):
    """Rows of a result, in which heads lie side by side."""
    return ((lane // heads) * length + site) * heads + lane % heads


@triton.jit
def gates(alpha, rows, inside, COMPLEX: tl.constexpr):
    """Gates of sites; a gate is 1 where there is none."""
    real = tl.load(alpha + rows, mask=inside, other=1.0)
    if COMPLEX:
        return real, tl.load(alpha + rows + 1, mask=inside, other=0.0)
    return real, real


@triton.jit
def decay(gate_real, gate_imaginary, LAG: tl.constexpr, COMPLEX: tl.constexpr, T: tl.constexpr):
    """Products of the gates of sites j + 1 to i - LAG, 0 where i - LAG < j; `gate` has site i - LAG at i."""
    i = tl.arange(0, T)[:, None]
    j = tl.arange(0, T)[None, :]
    below = i - LAG > j
    real = tl.where(below, gate_real[:, None], 1.0)
    if COMPLEX:
        imaginary = tl.where(below, gate_imaginary[:, None], 0.0)
        real, imaginary = tl.associative_scan((real, imaginary), 0, multiply_complex)
        imaginary = tl.where(i - LAG >= j, imaginary, 0.0)
    else:
        real = tl.associative_scan(real, 0, multiply)
        imaginary = real
    return tl.where(i - LAG >= j, real, 0.0), imaginary


@triton.jit(do_not_specialize=plain_integers("left", "right", "alpha", "beta"))
def contribute(
    left, right, alpha, beta, states, products, length, heads,
    left_outer, left_inner, left_site, right_outer, right_inner, right_site,
    alpha_outer, alpha_inner, alpha_site, beta_outer, beta_inner, beta_site,
    BACKWARDS: tl.constexpr, COMPLEX: tl.constexpr, T: tl.constexpr,
    KEYS: tl.constexpr, VALUES: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """What a chunk adds to the state at its end, from keys and values, and the product of its gates.

    Backwards: what it adds to the cotangent of the state before it, from queries and cotangents, and the
    conjugate product. Of the chunks + 1 states around the chunks, the contribution lies where it arrives.
    """
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    chunks = tl.cdiv(length, T)
    program = tl.program_id(0).to(tl.int64)
    lane = program // chunks
    chunk = program % chunks
    row = tl.arange(0, T)
    site = chunk * T + row
    inside = site < length
    k_index = tl.arange(0, K)
    p_index = tl.arange(0, P)
    left_rows = lane_offset(lane, heads, left_outer, left_inner) + site * left_site
    right_rows = lane_offset(lane, heads, right_outer, right_inner) + site * right_site
    alpha_lane = lane_offset(lane, heads, alpha_outer, alpha_inner)
    u = tl.load(left + channels(left_rows, K), mask=inside[:, None] & (k_index < KEYS)[None, :], other=0.0)
    v = tl.load(
        right + channels(right_rows, P), mask=inside[:, None] & (p_index < VALUES)[None, :], other=0.0
    )
    if BACKWARDS:
        # From the chunk's start to each site, that site's gate included.
        gate_r, gate_i = gates(alpha, alpha_lane + site * alpha_site, inside, COMPLEX)
    else:
        # From behind each site to the chunk's end; the first site's own gate comes last.
        later = (site + 1 < length) & (row < T - 1)
        gate_r, gate_i = gates(alpha, alpha_lane + (site + 1) * alpha_site, later, COMPLEX)
        share = tl.load(
            beta + lane_offset(lane, heads, beta_outer, beta_inner) + site * beta_site, mask=inside, other=1.0
        )
        u = u * tl.sqrt(share)[:, None]
    if COMPLEX:
        gate_r, gate_i = tl.associative_scan((gate_r, gate_i), 0, multiply_complex, reverse=not BACKWARDS)
    else:
        gate_r = tl.associative_scan(gate_r, 0, multiply, reverse=not BACKWARDS)
    slot = chunk if BACKWARDS else chunk + 1
    size: tl.constexpr = KEYS * VALUES
    entries = PARTS * (k_index[:, None] * VALUES + p_index[None, :])
    whole = (k_index < KEYS)[:, None] & (p_index < VALUES)[None, :]
    place = states + (lane * (chunks + 1) + slot) * (PARTS * size) + entries
    tl.store(place, product(tl.trans(u * gate_r[:, None]), v), mask=whole)
    all_r = entry(gate_r, T - 1 if BACKWARDS else 0, T)
    if COMPLEX:
        added = product(tl.trans(u * gate_i[:, None]), v)
        tl.store(place + 1, -added if BACKWARDS else added, mask=whole)
        all_i = entry(gate_i, T - 1 if BACKWARDS else 0, T)
        if BACKWARDS:
            all_i = -all_i
        else:
            first_r = tl.load(alpha + alpha_lane + chunk * T * alpha_site)
            first_i = tl.load(alpha + alpha_lane + chunk * T * alpha_site + 1)
            all_r, all_i = multiply_complex(all_r, all_i, first_r, first_i)
        tl.store(products + 2 * program + 1, all_i)
    elif not BACKWARDS:
        all_r = all_r * tl.load(alpha + alpha_lane + chunk * T * alpha_site)
    tl.store(products + PARTS * program, all_r)


@triton.jit(do_not_specialize=["chunks"])
def carry(
    states, products, chunks, BACKWARDS: tl.constexpr, COMPLEX: tl.constexpr,
    SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Contributions become states, in place, from the one before the first chunk on; or the other way."""
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    blocks: tl.constexpr = (SIZE + BLOCK - 1) // BLOCK
    program = tl.program_id(0).to(tl.int64)
    lane = program // blocks
    index = program % blocks * BLOCK + tl.arange(0, BLOCK)
    here = index < SIZE
    places = states + lane * (chunks + 1) * (PARTS * SIZE) + PARTS * index
    row = tl.arange(0, ROWS)
    top = (row == 0)[:, None]
    bottom = (row == ROWS - 1)[:, None]
    start = places
    if BACKWARDS:
        start = places + chunks.to(tl.int64) * (PARTS * SIZE)
    carry_r = tl.load(start, mask=here, other=0.0)
    carry_i = carry_r
    if COMPLEX:
        carry_i = tl.load(start + 1, mask=here, other=0.0)
    for begin in range(0, chunks, ROWS):
        step = begin + row
        chunk = chunks - 1 - step if BACKWARDS else step
        slot = chunk if BACKWARDS else chunk + 1
        inside = (step < chunks)[:, None] & here[None, :]
        gate = products + PARTS * (lane * chunks + chunk)
        place = places[None, :] + slot.to(tl.int64)[:, None] * (PARTS * SIZE)
        mr = tl.load(gate, mask=step < chunks, other=1.0)[:, None]
        br = tl.load(place, mask=inside, other=0.0)
        if COMPLEX:
            mi = tl.load(gate + 1, mask=step < chunks, other=0.0)[:, None]
            bi = tl.load(place + 1, mask=inside, other=0.0)
            entered_r = br + mr * carry_r[None, :] - mi * carry_i[None, :]
            entered_i = bi + mr * carry_i[None, :] + mi * carry_r[None, :]
            br = tl.where(top, entered_r, br)
            bi = tl.where(top, entered_i, bi)
            mr = tl.broadcast_to(mr, (ROWS, BLOCK))
            mi = tl.broadcast_to(mi, (ROWS, BLOCK))
            mr, mi, br, bi = tl.associative_scan((mr, mi, br, bi), 0, compose_complex)
            tl.store(place + 1, bi, mask=inside)
            carry_i = tl.sum(tl.where(bottom, bi, 0.0), 0)
        else:
            br = tl.where(top, br + mr * carry_r[None, :], br)
            mr = tl.broadcast_to(mr, (ROWS, BLOCK))
            mr, br = tl.associative_scan((mr, br), 0, _compose)
        tl.store(place, br, mask=inside)
        carry_r = tl.sum(tl.where(bottom, br, 0.0), 0)
        if not COMPLEX:
            carry_i = carry_r


@triton.jit(do_not_specialize=plain_integers("query", "key", "value", "alpha", "beta"))
def outputs(
    queries, keys, values, alpha, beta, states, results, length, heads,
    query_outer, query_inner, query_site, key_outer, key_inner, key_site,
    value_outer, value_inner, value_site,
    alpha_outer, alpha_inner, alpha_site, beta_outer, beta_inner, beta_site,
    COMPLEX: tl.constexpr, T: tl.constexpr,
    KEYS: tl.constexpr, VALUES: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """What a chunk's queries read: of the chunk's own keys and values, and of the state before it."""
    PARTS: tl.constexpr = 2 if COMPLEX else 1
    chunks = tl.cdiv(length, T)
    program = tl.program_id(0).to(tl.int64)
    lane = program // chunks
    chunk = program % chunks
    site = chunk * T + tl.arange(0, T)
    inside = site < length
    k_index = tl.arange(0, K)
    p_index = tl.arange(0, P)
    narrow = inside[:, None] & (k_index < KEYS)[None, :]
    wide = inside[:, None] & (p_index < VALUES)[None, :]
    query_rows = lane_offset(lane, heads, query_outer, query_inner) + site * query_site
    key_rows = lane_offset(lane, heads, key_outer, key_inner) + site * key_site
    value_rows = lane_offset(lane, heads, value_outer, value_inner) + site * value_site
    alpha_rows = lane_offset(lane, heads, alpha_outer, alpha_inner) + site * alpha_site
    beta_rows = lane_offset(lane, heads, beta_outer, beta_inner) + site * beta_site
    q = tl.load(queries + channels(query_rows, K), mask=narrow, other=0.0)
    k = tl.load(keys + channels(key_rows, K), mask=narrow, other=0.0)
    v = tl.load(values + channels(value_rows, P), mask=wide, other=0.0)
    k = k * tl.sqrt(tl.load(beta + beta_rows, mask=inside, other=1.0))[:, None]
    gate_r, gate_i = gates(alpha, alpha_rows, inside, COMPLEX)
    decay_r, _ = decay(gate_r, gate_i, 0, COMPLEX, T)
    scores = product(q, tl.trans(k)) * decay_r
    found = product(scores, v)
    size: tl.constexpr = KEYS * VALUES
    entries = PARTS * (k_index[:, None] * VALUES + p_index[None, :])
    whole = (k_index < KEYS)[:, None] & (p_index < VALUES)[None, :]
    place = states + (lane * (chunks + 1) + chunk) * (PARTS * size) + entries
    state_r = tl.load(place, mask=whole, other=0.0)
    if COMPLEX:
        state_i = tl.load(place + 1, mask=whole, other=0.0)
        reach_r, reach_i = tl.associative_scan((gate_r, gate_i), 0, multiply_complex)
        found += reach_r[:, None] * product(q, state_r) - reach_i[:, None] * product(q, state_i)
    else:
        reach_r = tl.associative_scan(gate_r, 0, multiply)
        found += reach_r[:, None] * product(q, state_r)
    rows = result_rows(lane, heads, site, length) * VALUES
    tl.store(results + channels(rows, P), found, mask=wide)
