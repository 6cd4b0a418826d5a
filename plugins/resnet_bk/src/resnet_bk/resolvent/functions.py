"""The operations as differentiable functions: a kernel forward, its exact gradient backward."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from resnet_bk.flops import costs
from resnet_bk.flops.counting import counted, is_counting, tell
from resnet_bk.resolvent.kernels import cpu_mixer, cpu_norm

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_bk.resolvent.kernels.protocol import Kernel

__all__ = ["Causal", "GatedState", "Gates", "GreenDiagonal", "Mixer", "Norm"]


class _NoGraph:
    """Stands in for a node of the graph where there is none."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep nothing."""

    def set_materialize_grads(self, value: bool) -> None:
        """There are no gradients."""


class _Exact(torch.autograd.Function):  # type: ignore[misc]
    """A function with an exact gradient of its own."""

    @classmethod
    def compute(cls, *arguments: Any) -> Any:
        """Apply it; where no gradient is wanted, without what makes a node of the graph."""
        if torch.is_inference_mode_enabled() or not (_wants_gradients(arguments) or _wants_tangents()):
            return cls.forward(_NoGraph(), *arguments)
        return cls.apply(*arguments)


def _wants_gradients(arguments: tuple[Any, ...]) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(argument, torch.Tensor) and argument.requires_grad for argument in arguments
    )


def _wants_tangents() -> bool:
    """Whether forward-mode differentiation is going on, which `apply` refuses with PyTorch's own words."""
    return bool(getattr(forward_ad, "_current_level", 0) >= 0)


class GreenDiagonal(_Exact):
    """The full diagonal of the resolvent."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor
    ) -> Tensor:
        """G_ii."""
        ctx.kernel = kernel
        ctx.save_for_backward(potential, coupling, energy, eta)
        with counted("resnet_bk.green_diagonal", costs.green_diagonal, potential.numel()):
            return kernel.green_diagonal(potential, coupling, energy, eta)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the four site quantities."""
        # Before the block: activation checkpointing computes them here, and that counts by itself.
        saved = ctx.saved_tensors
        with counted("resnet_bk.green_diagonal", costs.green_diagonal_gradient, cotangent.numel()):
            return (None, *ctx.kernel.green_diagonal_backward(*saved, cotangent))


class Causal(_Exact):
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
        with counted(
            "resnet_bk.causal",
            costs.causal,
            potential.numel(),
            0 if inputs is None else inputs.shape[-1],
            is_symmetric=coupling is None,
        ):
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
        saved = ctx.saved_tensors
        _, coupling, diagonal, values, *_ = saved
        with counted(
            "resnet_bk.causal",
            costs.causal_gradient,
            diagonal.numel(),
            0 if values is None else values.shape[-1],
            is_symmetric=coupling is None,
        ):
            gradients = ctx.kernel.causal_backward(*saved, diagonal_cotangent, values_cotangent, **ctx.shared)
        return (None, *gradients)


class Gates(_Exact):
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
        with counted("resnet_bk.gates", costs.gates, potential.numel(), is_complex=complex_phase):
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
        with counted(
            "resnet_bk.gates", costs.gates_gradient, x.numel(), is_complex=ctx.alpha_dtype.is_complex
        ):
            gradients = ctx.kernel.gates_backward(
                *saved,
                alpha_cotangent,
                beta_cotangent,
                last_cotangent,
                energy_shared=ctx.energy_shared,
            )
        return (None, None, *gradients)


class GatedState(_Exact):
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
        with (
            _without_autocast(queries.device.type),
            _counted_state(costs.gated_state, keys, values, alpha),
        ):
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
        _, keys, values, alpha, *_ = saved
        with (
            _without_autocast(keys.device.type),
            _counted_state(costs.gated_state_gradient, keys, values, alpha),
        ):
            gradients = ctx.kernel.state_backward(
                *saved, output_cotangent, last_cotangent, with_initial=ctx.with_initial
            )
        return (None, None, *gradients)


class Mixer(_Exact):
    """A layer between its two projections."""

    @staticmethod
    def forward(ctx: Any, keep: bool, *tensors: Tensor | None) -> tuple[Tensor, Tensor, bool]:
        """Outputs, the last state, and whether all values could be computed with."""
        inputs = cpu_mixer.MixerInputs(*tensors)
        with counted("resnet_bk.gated_state", costs.gated_state, inputs.alpha.numel(), *inputs.size):
            found = cpu_mixer.mixer(inputs, keep=keep)
        _tell_convolution("aten.convolution", inputs)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, found.read, found.kept)
        return found.outputs, found.last, found.usable

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, output_cotangent: Tensor | None, last_cotangent: Tensor | None, _usable: None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of every input."""
        *tensors, read, kept = ctx.saved_tensors
        inputs = cpu_mixer.MixerInputs(*tensors)
        if output_cotangent is None:
            output_cotangent = torch.zeros_like(read)
        output_cotangent = output_cotangent.contiguous().resolve_neg()
        with counted("resnet_bk.gated_state", costs.gated_state_gradient, inputs.alpha.numel(), *inputs.size):
            gradients = cpu_mixer.mixer_backward(inputs, read, kept, output_cotangent, last_cotangent)
        _tell_convolution("aten.convolution_backward", inputs, gradients=2)
        return (None, *gradients)


class Norm(_Exact):
    """The root mean square norm of rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, eps: float) -> Tensor:
        """The normed rows."""
        result, scales = cpu_norm.norm(rows, weight, eps)
        ctx.save_for_backward(rows, weight, scales)
        return result

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of rows and weight."""
        rows, weight, scales = ctx.saved_tensors
        cotangent = cotangent.contiguous().resolve_neg()
        return (*cpu_norm.norm_backward(rows, weight, scales, cotangent), None)


def _counted_state(
    cost: Callable[..., int], keys: Tensor, values: Tensor, alpha: Tensor
) -> AbstractContextManager[Any]:
    sizes = alpha.numel(), keys.shape[-1], values.shape[-1]
    return counted("resnet_bk.gated_state", cost, *sizes, is_complex=alpha.is_complex())


def _tell_convolution(name: str, inputs: cpu_mixer.MixerInputs, *, gradients: int = 1) -> None:
    """Count the convolution inside of a mixer as the operator that it takes the place of."""
    if is_counting():
        batch, _, length = inputs.alpha.shape
        tell(name, gradients * costs.convolution(batch * length, *inputs.taps.shape))


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
