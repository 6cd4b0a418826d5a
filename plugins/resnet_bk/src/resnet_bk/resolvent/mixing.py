"""A layer between its two projections in one pass over memory, where the compiled kernels can do that."""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_bk.resolvent import functions
from resnet_bk.resolvent.kernels.cpu_mixer import MixerInputs
from resnet_bk.resolvent.selection import kernel_name

__all__ = ["can_mix", "mix"]

_FULL = (torch.float32, torch.float64)
_HALF = (torch.float16, torch.bfloat16)


def can_mix(inputs: MixerInputs) -> bool:
    """Whether `mix` can compute with these: on the CPU, real, fitting together, and of one type.

    What autocast has projected, and the window of it, may be of half precision.
    """
    projected, window, *rest = inputs
    dtype = inputs.alpha.dtype
    present = [tensor for tensor in inputs if tensor is not None]
    return (
        kernel_name(projected.device, "auto") == "cpu"
        and all(tensor.device.type == "cpu" for tensor in present)
        and dtype in _FULL
        and all(tensor is None or tensor.dtype == dtype for tensor in rest)
        and all(tensor is None or tensor.dtype in (dtype, *_HALF) for tensor in (projected, window))
        and inputs.alpha.numel() > 0
        and inputs.fit
    )


def mix(inputs: MixerInputs) -> tuple[Tensor, Tensor] | None:
    """Convolve, write and read the matrix states, and apply the output gate.

    q, k, v = silu(conv(t)), with q scaled by K^-1/2; R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T;
    out_i = (R_i^T q_i + skip v_i) silu(gate_i).

    Args:
        inputs: What goes in, such that `can_mix`; in any layout.

    Returns:
        The outputs, (B, N, H P), and the last state, (B, H, K, P); None if queries, keys, values or gates
        hold what can't be computed with.
    """
    *arrays, alpha, beta, initial = inputs
    plain = [
        None if tensor is None else tensor.to(alpha.dtype).contiguous().resolve_neg() for tensor in arrays
    ]
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs)
    outputs, last, usable = functions.Mixer.compute(keep, *plain, alpha, beta, initial)
    return (outputs, last) if usable else None


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype).contiguous().resolve_neg()
