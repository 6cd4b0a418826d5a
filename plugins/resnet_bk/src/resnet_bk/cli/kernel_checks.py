"""Checks kernels against dense inverses and plain loops, on chains so short that it takes no time.

`python -m resnet_bk.cli.kernel_checks KERNEL DEVICE` prints what they gave as JSON: compiled code that does
not suit the processor ends the process that runs it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import attrs
import torch
from torch import Tensor

from resnet_bk.resolvent import causal_green_operator, gated_state, green_diagonal

__all__ = ["KernelCheck", "check_kernel"]

_LENGTH: Final = 24
_LIMITS: Final = {torch.float64: 1e-9, torch.float32: 1e-4}


@attrs.frozen(kw_only=True)
class KernelCheck:
    """What one operation of a kernel gave.

    Attributes:
        kernel: The kernel.
        device: Where it computed.
        operation: `diagonal`, `operator`, `state` or `gradient`.
        precision: `float32` or `float64`.
        error: The largest difference from what is right, relative to the largest number; None if it failed.
        limit: What the error has to be less than.
        problem: Why it failed; empty if it did not.
    """

    kernel: str
    device: str
    operation: str
    precision: str
    error: float | None
    limit: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the kernel can be trusted with this operation."""
        return self.error is not None and self.error < self.limit


@attrs.frozen
class Chain:
    """A tridiagonal H, (chains, sites), with an energy and a width above the real axis for each chain."""

    potential: Tensor
    hopping: Tensor
    energy: Tensor
    eta: Tensor

    @classmethod
    def some(cls) -> Chain:
        """Three chains, always the same."""
        dice = torch.Generator().manual_seed(0)

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=dice, dtype=torch.float64)

        return cls(normal(3, _LENGTH), normal(3, _LENGTH), normal(3, 1) * 0.5, 0.2 + normal(3, 1).abs())

    def inverse(self, hopping: Tensor | None = None) -> Tensor:
        """(H - z)^-1, dense; with another hopping, also for more dimensions."""
        links = self.hopping if hopping is None else hopping
        sites = torch.complex(self.potential - self.energy, -self.eta.expand_as(self.potential))
        below = torch.diag_embed(links[..., 1:], -1)
        matrix = torch.diag_embed(sites.expand(links.shape)) + below + below.transpose(-1, -2)
        return torch.linalg.inv(matrix)


def check_kernel(kernel: str, device: str) -> list[KernelCheck]:
    """Everything that a kernel has to be able to do, each in both precisions.

    Args:
        kernel: Its name.
        device: Where it is to compute.
    """
    found = []
    for operation, run in _OPERATIONS.items():
        for dtype, limit in _LIMITS.items():
            error, problem = None, ""
            try:
                error = run(kernel, device, dtype)
            except Exception as raised:  # noqa: BLE001  whatever a kernel raises is what is to be found out
                problem = f"{type(raised).__name__}: {raised}".splitlines()[0]
            found.append(
                KernelCheck(
                    kernel=kernel,
                    device=device,
                    operation=operation,
                    precision=str(dtype).removeprefix("torch."),
                    error=error,
                    limit=limit,
                    problem=problem,
                )
            )
    return found


def _difference(found: Tensor, right: Tensor) -> float:
    wide = torch.complex128 if right.is_complex() else torch.float64
    error = (found.detach().cpu().to(wide) - right).abs().max() / right.abs().max()
    # Not a number is no difference that a limit could be compared with.
    return float(error.nan_to_num(float("inf")))


def _diagonal(kernel: str, device: str, dtype: torch.dtype) -> float:
    """G_ii against the diagonal of the inverse."""
    chain = Chain.some()
    right = chain.inverse().diagonal(dim1=-2, dim2=-1)
    a, c, e, eta = (each.to(device, dtype) for each in attrs.astuple(chain, recurse=False))
    return _difference(green_diagonal(a, c * c, e, eta, kernel=kernel), right)


def _operator(kernel: str, device: str, dtype: torch.dtype) -> float:
    """y_i and g_i against the last rows of the inverses of the first i + 1 sites."""
    chain = Chain.some()
    inputs = torch.randn(3, _LENGTH, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # A chain that is cut behind site i has the inverse of its first i + 1 sites in its upper left corner.
    sites = torch.arange(_LENGTH)
    cut = chain.hopping.unsqueeze(-2) * (sites != sites.unsqueeze(-1) + 1)
    rows = Chain(*(each.unsqueeze(-2) for each in attrs.astuple(chain, recurse=False))).inverse(cut)
    rows = rows[..., sites, sites, :]
    a, c, e, eta = (each.to(device, dtype) for each in attrs.astuple(chain, recurse=False))
    found = causal_green_operator(inputs.to(device, dtype), a, c, e, eta, kernel=kernel)
    return max(
        _difference(found.values, rows @ inputs.to(rows.dtype)),
        _difference(found.diagonal, rows.diagonal(dim1=-2, dim2=-1)),
    )


def _state(kernel: str, device: str, dtype: torch.dtype) -> float:
    """The gated matrix state against the recurrence, written out."""
    dice = torch.Generator().manual_seed(2)
    queries, keys, values = (
        torch.randn(2, _LENGTH, size, generator=dice, dtype=torch.float64) for size in (4, 4, 3)
    )
    alpha, beta = (torch.rand(2, _LENGTH, generator=dice, dtype=torch.float64) for _ in range(2))
    memory, right = torch.zeros(2, 4, 3, dtype=torch.float64), []
    for site in range(_LENGTH):
        written = torch.einsum("bk,bp->bkp", keys[:, site], values[:, site])
        memory = alpha[:, site, None, None] * memory + beta[:, site, None, None].sqrt() * written
        right.append(torch.einsum("bkp,bk->bp", memory, queries[:, site]))
    given = [each.to(device, dtype) for each in (queries, keys, values, alpha, beta)]
    return _difference(gated_state(*given, kernel=kernel).outputs, torch.stack(right, 1))


def _gradient(kernel: str, device: str, dtype: torch.dtype) -> float:
    """Gradients of a function of G_ii against those through the inverse."""

    def gradients(diagonal: Callable[[Chain], Tensor], chain: Chain) -> list[Tensor]:
        leaves = [each.detach().requires_grad_() for each in attrs.astuple(chain, recurse=False)]
        value = diagonal(Chain(*leaves))
        (value.real.sin().sum() + value.imag.square().sum()).backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    chain = Chain.some()
    right = gradients(lambda each: each.inverse().diagonal(dim1=-2, dim2=-1), chain)
    narrow = Chain(*(each.to(device, dtype) for each in attrs.astuple(chain, recurse=False)))
    found = gradients(
        lambda each: green_diagonal(
            each.potential, each.hopping * each.hopping, each.energy, each.eta, kernel=kernel
        ),
        narrow,
    )
    return max(map(_difference, found, right))


_OPERATIONS: Final[dict[str, Callable[[str, str, torch.dtype], Any]]] = {
    "diagonal": _diagonal,
    "operator": _operator,
    "state": _state,
    "gradient": _gradient,
}


def main(kernel: str, device: str) -> None:
    """Print the checks of one kernel as JSON, on one line."""
    checks = check_kernel(kernel, device)
    print(json.dumps([{**attrs.asdict(check), "passed": check.passed} for check in checks]))


if __name__ == "__main__":
    main(*sys.argv[1:])
