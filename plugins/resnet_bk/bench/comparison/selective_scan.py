"""Mamba's selective scan as one compiled function with its exact gradient, for a fair comparison of times."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["LANES", "load_library", "selective_scan"]

SOURCE = Path(__file__).with_name("selective_scan.c")
LANES = 16
CHUNK = 16
_COMMON = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# The first that the compiler understands; the others are for compilers and processors without it.
_FLAGS = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ())


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """The compiled scan; None where there is no C compiler that makes it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "selective_scan.so"
        for flags in _FLAGS:
            command = [compiler, *_COMMON, *flags, str(SOURCE), "-o", str(target)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return ctypes.CDLL(str(target))
    return None


def _call(name: str, tensors: list[Tensor], sizes: tuple[int, ...]) -> None:
    library = load_library()
    if library is None:
        raise RuntimeError("the selective scan was not compiled: there is no working C compiler.")
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    if getattr(library, name)(*pointers, *(ctypes.c_long(size) for size in sizes)):
        raise MemoryError("the selective scan found no memory for its states.")


class _Scan(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        inputs = [tensor.contiguous() for tensor in given]
        x, rates = inputs[0], inputs[2]
        sizes = (*x.shape, rates.shape[1])
        outputs = torch.empty_like(x)
        starts = x.new_empty(x.shape[0], -(-x.shape[1] // CHUNK), *rates.shape)
        _call("scan_forward", [*inputs, outputs, starts], sizes)
        ctx.save_for_backward(*inputs, starts)
        ctx.sizes = sizes
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        *inputs, starts = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in inputs]
        _call("scan_backward", [*inputs, starts, grad.contiguous(), *grads], ctx.sizes)
        return tuple(grads)


def selective_scan(x: Tensor, delta: Tensor, rates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t, y_t = C_t h_t + D x_t, of (B, L, channels).

    Args:
        x: Inputs, (B, L, channels), float32.
        delta: Step sizes, > 0, likewise.
        rates: A, < 0, (channels, states).
        b: What is written, (B, L, states).
        c: What is read, likewise.
        d: The skip of each channel, (channels,).

    Raises:
        ValueError: The tensors are not float32, or the channels no multiple of `LANES`.
        RuntimeError: There is no C compiler.
    """
    tensors = (x, delta, rates, b, c, d)
    if any(tensor.dtype != torch.float32 for tensor in tensors) or x.shape[-1] % LANES:
        raise ValueError(f"the compiled scan takes float32, and a multiple of {LANES} channels.")
    return _Scan.apply(*tensors)
