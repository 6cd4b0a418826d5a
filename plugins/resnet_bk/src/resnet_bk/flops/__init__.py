"""Counts the floating-point operations that a model executes, whichever kernels execute them."""

from __future__ import annotations

from resnet_bk.flops.counter import FLOPsCounter

__all__ = ["FLOPsCounter"]
