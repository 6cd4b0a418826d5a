"""What the operations of ResNet-BK cost: formulas in the number of sites, channels, keys and values.

A multiplication, an addition, a division or a root of real numbers is one floating-point operation, so a
multiply-add is 2; a change of sign is none. What counts is the recurrence as it is written in
`resnet_bk.resolvent`, site by site, with its exact gradient, and not what a kernel does to be fast (chunks,
matrix products inside them): so the count is the same for all kernels. Every site counts alike, the first
one, too. With B sites in all, K keys and P values:

| operation | forward | gradient |
|---|---|---|
| matrix state | (5 K P + K + 1) B | (14 K P + 5 K + 4) B |
| with a complex gate | (10 K P + K + 1) B | (30 K P + 5 K + 4) B |
| gates | 14 B | 47 B |
| with a phase | 19 B | 52 B |
| causal diagonal | 11 B | 21 B |
| with P channels | (11 + 9 P) B | (21 + 22 P) B |
| with s = c^2 | B more | 3 B more |
| full diagonal | 29 B | 59 B |

A site of the matrix state: scaling it is K P, adding the outer product 2 K P, reading it 2 K P. No kernel
keeps all states for the way back, so its gradient computes them again: 3 K P of the 14.
"""

from __future__ import annotations

__all__ = [
    "causal",
    "causal_gradient",
    "convolution",
    "gated_state",
    "gated_state_gradient",
    "gates",
    "gates_gradient",
    "green_diagonal",
    "green_diagonal_gradient",
    "matrix_product",
    "phase",
]


def gated_state(sites: int, keys: int, values: int, *, is_complex: bool = False) -> int:
    """The matrix state."""
    return sites * ((10 if is_complex else 5) * keys * values + keys + 1)


def gated_state_gradient(sites: int, keys: int, values: int, *, is_complex: bool = False) -> int:
    """Its gradient."""
    return sites * ((30 if is_complex else 14) * keys * values + 5 * keys + 4)


def gates(sites: int, *, is_complex: bool = False) -> int:
    """The gates in normal form."""
    return sites * 14 + (phase(sites) if is_complex else 0)


def phase(sites: int) -> int:
    """What the phase of the gates adds."""
    return sites * 5


def gates_gradient(sites: int, *, is_complex: bool = False) -> int:
    """The gradient of the gates."""
    return sites * (52 if is_complex else 47)


def causal(sites: int, channels: int, *, is_symmetric: bool) -> int:
    """The causal diagonal, and the operator on some channels; symmetric is where s = c^2 is to be formed."""
    return sites * (11 + 9 * channels + is_symmetric)


def causal_gradient(sites: int, channels: int, *, is_symmetric: bool) -> int:
    """Its gradient."""
    return sites * (21 + 22 * channels + 3 * is_symmetric)


def green_diagonal(sites: int) -> int:
    """The full diagonal."""
    return sites * 29


def green_diagonal_gradient(sites: int) -> int:
    """Its gradient."""
    return sites * 59


def convolution(sites: int, channels: int, taps: int) -> int:
    """A convolution of each channel by itself; its gradient is twice that."""
    return 2 * sites * channels * taps


def matrix_product(rows: int, inner: int, columns: int) -> int:
    """(rows, inner) times (inner, columns)."""
    return 2 * rows * inner * columns
