"""The reference kernel: PyTorch operations only, on any device, in double precision where it matters."""

from __future__ import annotations

from resnet_bk.resolvent.kernels import scans, torch_state
from resnet_bk.resolvent.kernels.scan_kernel import ScanKernel

__all__ = ["KERNEL"]

KERNEL = ScanKernel(scans, torch_state)
