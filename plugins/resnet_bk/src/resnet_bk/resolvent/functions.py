"""The operations as differentiable functions: a kernel forward, its exact gradient backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_bk.resolvent.kernels.protocol import Kernel

__all__ = ["Causal", "GatedState", "Gates", "GreenDiagonal"]


class GreenDiagonal(torch.autograd.Function):  # type: ignore[misc]
    """The full diagonal of the resolvent."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor
    ) -> Tensor:
        """G_ii."""
        ctx.kernel = kernel
        ctx.save_for_backward(potential, coupling, energy, eta)
        return kernel.green_diagonal(potential, coupling, energy, eta)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the four site quantities."""
        return (None, *ctx.kernel.green_diagonal_backward(*ctx.saved_tensors, cotangent))


class Causal(torch.autograd.Function):  # type: ignore[misc]
    """The causal diagonal, and with inputs the causal Green operator's values."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        potential: Tensor,
        hopping: Tensor | None,
        coupling: Tensor | None,
        energy: Tensor,
        eta: Tensor,
        inputs: Tensor | None,
        initial_diagonal: Tensor | None,
        initial_values: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The diagonal and the values; the values are None without inputs."""
        diagonal, values = kernel.causal(
            potential, hopping, coupling, energy, eta, inputs, initial_diagonal, initial_values
        )
        length = potential.shape[-1]
        ctx.kernel = kernel
        ctx.shared = {
            "energy_shared": energy.shape[-1] != length,
            "eta_shared": eta.shape[-1] != length,
        }
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hopping, coupling, diagonal, values, initial_diagonal, initial_values)
        return diagonal, values

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, diagonal_cotangent: Tensor | None, values_cotangent: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        gradients = ctx.kernel.causal_backward(
            *ctx.saved_tensors, diagonal_cotangent, values_cotangent, **ctx.shared
        )
        return (None, *gradients)


class Gates(torch.autograd.Function):  # type: ignore[misc]
    """The gates of the causal Green operator in normal form."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        complex_phase: bool,
        potential: Tensor,
        hopping: Tensor,
        energy: Tensor,
        eta: Tensor,
        initial: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """alpha, beta, and x and q of the last site side by side."""
        alpha, beta, x, q = kernel.gates(
            potential, hopping, energy, eta, initial, complex_phase=complex_phase
        )
        ctx.kernel = kernel
        ctx.energy_shared = energy.shape[-1] != potential.shape[-1]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hopping, eta, x, q, initial)
        ctx.alpha_dtype = alpha.dtype
        return alpha, beta, torch.stack([x[..., -1], q[..., -1]], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, alpha_cotangent: Tensor | None, beta_cotangent: Tensor | None, last_cotangent: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        # Only once: activation checkpointing refuses to unpack them a second time.
        saved = ctx.saved_tensors
        x = saved[2]
        if alpha_cotangent is None:
            alpha_cotangent = torch.zeros_like(x, dtype=ctx.alpha_dtype)
        if beta_cotangent is None:
            beta_cotangent = torch.zeros_like(x)
        gradients = ctx.kernel.gates_backward(
            *saved,
            alpha_cotangent,
            beta_cotangent,
            last_cotangent,
            energy_shared=ctx.energy_shared,
        )
        return (None, None, *gradients)


class GatedState(torch.autograd.Function):  # type: ignore[misc]
    """The gated matrix state."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        keep: bool,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        alpha: Tensor,
        beta: Tensor,
        initial: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Outputs and the last state."""
        with torch.autocast(queries.device.type, enabled=False):
            outputs, last, kept = kernel.state(queries, keys, values, alpha, beta, initial, keep=keep)
        ctx.kernel = kernel
        ctx.with_initial = initial is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(queries, keys, values, alpha, beta, kept)
        return outputs, last

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, output_cotangent: Tensor | None, last_cotangent: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        saved = ctx.saved_tensors
        with torch.autocast(saved[0].device.type, enabled=False):
            gradients = ctx.kernel.state_backward(
                *saved, output_cotangent, last_cotangent, with_initial=ctx.with_initial
            )
        return (None, None, *gradients)
