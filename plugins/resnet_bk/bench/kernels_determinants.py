"""The method that this package replaces: the full diagonal from determinants, one site after the other.

Two forms of it in PyTorch operations, mapped over the batch, in complex128. Both are written from a
description of the method: G_ii is the determinant of the sites before i times that of the sites behind it,
through that of all, and determinants obey a recurrence over two sites.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["guarded_diagonal", "lean_diagonal", "operations_per_site"]

MASS = 1e-3
WALL = 88.0
DETERMINANT_FLOOR = 1e-18
LARGEST = 50.0
LARGEST_POTENTIAL = 100.0
LARGEST_HOPPING = 10.0
TINY = 1e-30


def lean_diagonal(potential: Tensor, coupling: Tensor, z: complex) -> Tensor:
    """G_ii with as few operations a site as it takes to stay in range: a division by the last size.

    Args:
        potential: (B, N).
        coupling: Products of hoppings, (B, N); the first is ignored.
        z: Energy and width.

    Returns:
        (B, N), complex128.
    """

    def determinants(sites: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
        before, current = torch.zeros_like(sites[0]), torch.ones_like(sites[0])
        scale = torch.zeros_like(sites[0].real)
        values, scales = [current], [scale]
        for site, link in zip(sites.unbind(0), links.unbind(0), strict=True):
            following = site * current - link * before
            size = following.abs()
            before, current = current / size, following / size
            scale = scale + size.log()
            values.append(current)
            scales.append(scale)
        return torch.stack(values), torch.stack(scales)

    def single(sites: Tensor, links: Tensor) -> Tensor:
        front, front_scale = determinants(sites, links)
        back, back_scale = determinants(sites.flip(0), links.roll(-1, 0).flip(0))
        back, back_scale = back.flip(0), back_scale.flip(0)
        growth = front_scale[:-1] + back_scale[1:] - front_scale[-1]
        return front[:-1] * back[1:] / front[-1] * torch.exp(growth)

    links = coupling.clone()
    links[..., 0] = 0
    return torch.vmap(single)(potential.to(torch.complex128) - z, links)


def _walled(exponent: Tensor) -> Tensor:
    """Bent so that its exponential stays in range of float32."""
    return WALL * torch.tanh(exponent / WALL)


def _log_determinants(sites: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Determinants of the first 0, 1, ..., N sites of a chain: numbers of size 1, logarithms of sizes."""
    phases, sizes = [torch.ones_like(sites[0])], [torch.zeros_like(sites[0].real)]
    for i in range(sites.shape[0]):
        following = sites[i] * phases[i]
        if i:
            # The one before last, in units of the last.
            ratio = torch.exp(_walled(sizes[i - 1] - sizes[i]))
            following = following - above[i - 1] * below[i - 1] * phases[i - 1] * ratio
        size = following.abs() + TINY
        phases.append(following / size)
        sizes.append(sizes[i] + torch.log(size))
    return torch.stack(phases), torch.stack(sizes)


def guarded_diagonal(potential: Tensor, above: Tensor, below: Tensor, z: complex) -> Tensor:
    """G_ii with every guard of the method as its authors describe it.

    Inputs are clamped; each diagonal entry is lengthened by `MASS`; determinants are kept as phases and
    logarithms, whose differences and sums are bent by a tanh; the whole determinant is moved off zero; what
    is not a number becomes 0, and what is larger than `LARGEST` is cut.

    Args:
        potential: (B, N).
        above: Entries above the diagonal, (B, N - 1).
        below: Entries below it, (B, N - 1).
        z: Energy and width.

    Returns:
        Real and imaginary part, (B, N, 2), float32.
    """

    def single(sites: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
        shifted = sites.clamp(-LARGEST_POTENTIAL, LARGEST_POTENTIAL).to(torch.complex128) - z
        shifted = shifted + MASS * shifted / shifted.abs()
        up, low = (
            tensor.clamp(-LARGEST_HOPPING, LARGEST_HOPPING).to(torch.complex128) for tensor in (upper, lower)
        )
        front, front_log = _log_determinants(shifted, up, low)
        back, back_log = _log_determinants(shifted.flip(0), up.flip(0), low.flip(0))
        back, back_log = back.flip(0), back_log.flip(0)
        growth = torch.exp(_walled(front_log[:-1] + back_log[1:] - front_log[-1]))
        green = front[:-1] * back[1:] / (front[-1] + DETERMINANT_FLOOR) * growth
        size = green.abs()
        green = torch.where(torch.isfinite(size), green, torch.zeros_like(green))
        green = torch.where(size > LARGEST, green / size * LARGEST, green)
        return torch.view_as_real(green.to(torch.complex64))

    return torch.vmap(single)(potential, above, below)


class _Counter(TorchDispatchMode):
    """Counts operations, views included."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations_per_site() -> dict[str, float]:
    """How many PyTorch operations each form takes a site, counted."""

    def count(length: int, guarded: bool) -> int:
        a, s = torch.randn(2, length), torch.rand(2, length)
        with _Counter() as counter:
            guarded_diagonal(a, s[:, 1:], s[:, 1:], 1j) if guarded else lean_diagonal(a, s, 1j)
        return counter.count

    return {
        name: (count(96, guarded) - count(32, guarded)) / 64
        for name, guarded in (("guarded", True), ("lean", False))
    }
