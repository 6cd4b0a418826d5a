"""The kernel for CUDA: the recurrences in Triton, PyTorch around them."""

from __future__ import annotations

from resnet_bk.resolvent.kernels import triton_scans, triton_state
from resnet_bk.resolvent.kernels.scan_kernel import ScanKernel

__all__ = ["KERNEL"]

KERNEL = ScanKernel(triton_scans, triton_state)
