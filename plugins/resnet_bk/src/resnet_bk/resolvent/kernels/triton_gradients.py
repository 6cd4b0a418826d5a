"""The gradients of a chunk of the gated matrix state as a Triton kernel: all chunks of all sequences at once.

The formulas are those of `torch_state`, with the same names. Complex numbers are two tensors; with real
gates the second ones are not computed.
"""

# ruff: noqa: N803, N806  constants of a kernel are written in capitals, as Triton's users expect
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

from resnet_bk.resolvent.kernels.triton_chunks import (
    channels,
    decay,
    entry,
    gates,
    lane_offset,
    plain_integers,
    product,
    result_rows,
)

__all__ = ["gradients"]


@triton.jit
def _row(matrix, index, T: tl.constexpr):
    return tl.sum(tl.where((tl.arange(0, T) == index)[:, None], matrix, 0.0), 0)


@triton.jit
def _column(matrix, index, T: tl.constexpr):
    return tl.sum(tl.where((tl.arange(0, T) == index)[None, :], matrix, 0.0), 1)


@triton.jit(do_not_specialize=plain_integers("query", "key", "value", "alpha", "beta", "cotangent"))
def gradients(
    queries, keys, values, alpha, beta, cotangents, states, afters,
    query_out, key_out, value_out, gate_out, share_out, length, heads,
    query_outer, query_inner, query_site, key_outer, key_inner, key_site,
    value_outer, value_inner, value_site, alpha_outer, alpha_inner, alpha_site,
    beta_outer, beta_inner, beta_site, cotangent_outer, cotangent_inner, cotangent_site,
    COMPLEX: tl.constexpr, T: tl.constexpr,
    KEYS: tl.constexpr, VALUES: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """From the state before a chunk and the cotangent of the one behind it, all gradients of its sites."""
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
    narrow = inside[:, None] & (k_index < KEYS)[None, :]
    wide = inside[:, None] & (p_index < VALUES)[None, :]
    query_rows = lane_offset(lane, heads, query_outer, query_inner) + site * query_site
    key_rows = lane_offset(lane, heads, key_outer, key_inner) + site * key_site
    value_rows = lane_offset(lane, heads, value_outer, value_inner) + site * value_site
    alpha_rows = lane_offset(lane, heads, alpha_outer, alpha_inner) + site * alpha_site
    beta_rows = lane_offset(lane, heads, beta_outer, beta_inner) + site * beta_site
    cotangent_rows = lane_offset(lane, heads, cotangent_outer, cotangent_inner) + site * cotangent_site
    root = tl.sqrt(tl.load(beta + beta_rows, mask=inside, other=1.0))
    q = tl.load(queries + channels(query_rows, K), mask=narrow, other=0.0)
    plain_key = tl.load(keys + channels(key_rows, K), mask=narrow, other=0.0)
    k = plain_key * root[:, None]
    v = tl.load(values + channels(value_rows, P), mask=wide, other=0.0)
    cot = tl.load(cotangents + channels(cotangent_rows, P), mask=wide, other=0.0)
    size: tl.constexpr = KEYS * VALUES
    entries = PARTS * (k_index[:, None] * VALUES + p_index[None, :])
    whole = (k_index < KEYS)[:, None] & (p_index < VALUES)[None, :]
    slot = (lane * (chunks + 1) + chunk) * (PARTS * size)
    before_r = tl.load(states + slot + entries, mask=whole, other=0.0)
    after_r = tl.load(afters + slot + PARTS * size + entries, mask=whole, other=0.0)
    gate_r, gate_i = gates(alpha, alpha_rows, inside, COMPLEX)
    # Gates one site earlier; the chunk's first site has none before it here.
    earlier = (site - 1 < length) & (row > 0)
    earlier_r, earlier_i = gates(alpha, alpha_rows - alpha_site, earlier, COMPLEX)
    decay_r, decay_i = decay(gate_r, gate_i, 0, COMPLEX, T)
    early_r, early_i = decay(earlier_r, earlier_i, 1, COMPLEX, T)
    scores = product(q, tl.trans(k))
    products = product(cot, tl.trans(v))
    weights = scores * products
    start_r = entry(gate_r, 0, T)
    column_r = _column(decay_r, 0, T)
    early_column_r = _column(early_r, 0, T)
    rest_r = _row(decay_r, T - 1, T)
    state_r = product(cot, tl.trans(before_r))
    key_end_r = product(v, tl.trans(after_r))
    pair_r = product(tl.trans(decay_r), weights)
    reads_r = tl.sum(q * state_r, 1)
    ends_r = tl.sum(k * key_end_r, 1)
    query = product(products * decay_r, k)
    key = product(tl.trans(products * decay_r), q)
    value = product(tl.trans(scores * decay_r), cot) + rest_r[:, None] * product(k, after_r)
    site_rows = result_rows(lane, heads, site, length)
    if COMPLEX:
        before_i = tl.load(states + slot + entries + 1, mask=whole, other=0.0)
        after_i = tl.load(afters + slot + PARTS * size + entries + 1, mask=whole, other=0.0)
        start_i = entry(gate_i, 0, T)
        column_i = _column(decay_i, 0, T)
        early_column_i = _column(early_i, 0, T)
        rest_i = _row(decay_i, T - 1, T)
        state_i = product(cot, tl.trans(before_i))
        key_end_i = product(v, tl.trans(after_i))
        pair_i = product(tl.trans(decay_i), weights)
        reads_i = tl.sum(q * state_i, 1)
        ends_i = tl.sum(k * key_end_i, 1)
        reach_r = start_r * column_r - start_i * column_i
        reach_i = start_r * column_i + start_i * column_r
        early_reach_r = tl.where(row == 0, 1.0, start_r * early_column_r - start_i * early_column_i)
        early_reach_i = tl.where(row == 0, 0.0, start_r * early_column_i + start_i * early_column_r)
        query += reach_r[:, None] * state_r - reach_i[:, None] * state_i
        key += rest_r[:, None] * key_end_r + rest_i[:, None] * key_end_i
        value += rest_i[:, None] * product(k, after_i)
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
        tl.store(gate_out + 2 * site_rows + 1, -total_i, mask=inside)
    else:
        early_reach_r = tl.where(row == 0, 1.0, start_r * early_column_r)
        query += (start_r * column_r)[:, None] * state_r
        key += rest_r[:, None] * key_end_r
        total_r = tl.sum(pair_r * early_r, 1)
        total_r += early_reach_r * tl.sum(tl.trans(decay_r) * reads_r[None, :], 1)
        total_r += rest_r * tl.sum(early_r * ends_r[None, :], 1)
        total_r += early_reach_r * rest_r * tl.sum(tl.sum(before_r * after_r, 1), 0)
    tl.store(gate_out + PARTS * site_rows, total_r, mask=inside)
    tl.store(query_out + channels(site_rows * KEYS, K), query, mask=narrow)
    # k is the key times the root of its share: the product rule.
    tl.store(key_out + channels(site_rows * KEYS, K), key * root[:, None], mask=narrow)
    tl.store(share_out + site_rows, tl.sum(key * plain_key, 1) / (2 * root), mask=inside)
    tl.store(value_out + channels(site_rows * VALUES, P), value, mask=wide)
