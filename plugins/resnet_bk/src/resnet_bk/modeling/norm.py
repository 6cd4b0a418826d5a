"""The norm of the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.resolvent import functions
from resnet_bk.resolvent.selection import kernel_name

__all__ = ["RootMeanSquareNorm", "make_norm"]

_TYPES = (torch.float32, torch.float64)


class RootMeanSquareNorm(nn.RMSNorm):  # type: ignore[misc]
    """`torch.nn.RMSNorm`, on the CPU in one pass over memory where the compiled kernels are there."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm each row.

        Args:
            x: (..., D).
        """
        # What compiles a model makes one pass of it by itself.
        if torch.compiler.is_compiling() or not self._is_for_kernel(x):
            return super().forward(x)
        weight = self.weight.contiguous().resolve_neg()
        return functions.Norm.compute(x.contiguous().resolve_neg(), weight, self.eps)

    def _is_for_kernel(self, x: Tensor) -> bool:
        return (
            self.eps is not None
            and self.weight is not None
            and x.device.type == self.weight.device.type == "cpu"
            and x.dtype == self.weight.dtype
            and x.dtype in _TYPES
            and x.numel() > 0
            and x.shape[-1:] == self.weight.shape
            and kernel_name(x.device, "auto") == "cpu"
        )


def make_norm(config: MambaKillerConfig) -> nn.Module:
    """A norm of the residual stream's width."""
    kind = nn.LayerNorm if config.norm == "layer" else RootMeanSquareNorm
    return kind(config.d_model, eps=config.norm_eps)
