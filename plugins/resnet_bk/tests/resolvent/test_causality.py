"""What comes later, and what is in other sequences, changes no bit."""

from __future__ import annotations

import os

import pytest
import torch

from resnet_bk.resolvent import causal_gates, causal_green_diagonal, causal_green_operator, gated_state

# Interpreting Triton is slow; its chunks are shorter.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
LENGTH = 36 if INTERPRETED else 70
SITES = [17, 32] if INTERPRETED else [0, 33, 64, 69]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers as they lie in memory."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("site", SITES)
def test_a_change_reaches_neither_earlier_sites_nor_other_samples(kernel, chain, site, dtype):
    """Changing one site of one sample leaves all before it, and the other samples, bit-identical."""
    h = chain(3, 2, LENGTH, per_site=True).to(dtype)
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(3, 2, LENGTH, size, generator=generator).to(dtype) for size in (3, 3, 5))

    def everything(*tensors: torch.Tensor) -> list[torch.Tensor]:
        a, c, e, w, q, k, v = tensors
        values, diagonal = causal_green_operator(v, a, c, e, w, kernel=kernel)
        results = [values, diagonal, causal_green_diagonal(a, c * c, e, w, kernel=kernel)]
        for phase in ("real", "complex"):
            gates = causal_gates(a, c, e, w, phase=phase, kernel=kernel)
            state = gated_state(q, k, v, gates.alpha, gates.beta, kernel=kernel)
            results += [gates.alpha, gates.beta, state.outputs]
        return results

    before = everything(*h, q, k, v)
    changed = [tensor.clone() for tensor in (*h, q, k, v)]
    for tensor in changed:
        tensor[1, 0, site] = tensor[1, 0, site] * 1.7 + 0.3
    after = everything(*changed)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(bits(old[1, 0, :site]), bits(new[1, 0, :site]))
        assert torch.equal(bits(old[[0, 2]]), bits(new[[0, 2]]))
        assert torch.equal(bits(old[1, 1]), bits(new[1, 1]))
    # And it does reach what it should.
    assert not torch.equal(bits(before[0][1, 0, site]), bits(after[0][1, 0, site]))
