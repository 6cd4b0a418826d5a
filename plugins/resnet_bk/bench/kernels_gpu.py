"""Measures the Triton kernels on a GPU against attention and gated linear attention, 2,048 to 65,536 tokens.

    python plugins/resnet_bk/bench/kernels_gpu.py [--batch 1] [--out FOLDER]

Forward and backward of the mixing alone: the matrix state with its gates; PyTorch's fused attention with as
many channels, in bfloat16 and float32; and, if `fla` (flash-linear-attention) is installed, its gated linear
attention, whose gates act on each key. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from kernels_results import FOLDER, write_section
from torch import Tensor
from torch.nn import functional

from resnet_bk.resolvent import causal_gates, choose_kernel, gated_state

HEADS, KEYS, VALUES = 8, 16, 32
LENGTHS = (2048, 4096, 8192, 16384, 32768, 65536)
REPEATS = 20
SECONDS = 1.0
Case = Callable[[], Any]


def least(function: Case) -> float:
    """Milliseconds of the fastest of several runs, by the GPU's own clock."""
    for _ in range(3):  # compile, and fill the allocator's cache
        function()
    torch.cuda.synchronize()
    begun, times = time.monotonic(), []
    while len(times) < REPEATS and (len(times) < 3 or time.monotonic() - begun < SECONDS):
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started.record()
        function()
        ended.record()
        ended.synchronize()
        times.append(started.elapsed_time(ended))
    return min(times)


def both_ways(function: Callable[..., Tensor], leaves: list[Tensor]) -> Case:
    """A function on leaves, forward and backward."""
    for leaf in leaves:
        leaf.requires_grad_()
    cotangent = torch.randn_like(function(*leaves))
    return lambda: torch.autograd.grad(function(*leaves), leaves, cotangent)


def matrix_state(batch: int, length: int) -> Case:
    """Gates and matrix state, as the default layer has them: heads side by side in memory."""

    def random(*size: int) -> Tensor:
        return torch.randn(batch, length, HEADS, *size, device="cuda").transpose(1, 2)

    eta = torch.full((HEADS, 1), 0.05, device="cuda")

    def mix(q: Tensor, k: Tensor, v: Tensor, potential: Tensor, hopping: Tensor) -> Tensor:
        gates = causal_gates(potential, hopping, 0.3, eta, kernel="triton")
        return gated_state(q, k, v, gates.alpha, gates.beta, kernel="triton").outputs

    return both_ways(mix, [random(KEYS), random(KEYS), random(VALUES), random(), random().abs()])


def attention(batch: int, length: int, dtype: torch.dtype) -> Case:
    """PyTorch's fused causal attention; queries and keys as wide as the values, as its kernels want it."""
    parts = [torch.randn(batch, HEADS, length, VALUES, device="cuda", dtype=dtype) for _ in range(3)]
    return both_ways(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True), parts)


def gated_linear_attention(batch: int, length: int) -> Case:
    """The gated linear attention of flash-linear-attention."""
    from fla.ops.gla import chunk_gla

    def random(size: int) -> Tensor:
        return torch.randn(batch, length, HEADS, size, device="cuda", dtype=torch.bfloat16)

    leaves = [random(KEYS), random(KEYS), random(VALUES), functional.logsigmoid(random(KEYS)).detach()]
    return both_ways(lambda q, k, v, g: chunk_gla(q, k, v, g)[0], leaves)


def cases(batch: int, length: int) -> dict[str, Callable[[], Case]]:
    """What is measured at one length."""
    found: dict[str, Callable[[], Case]] = {
        "matrix state with its gates, float32": lambda: matrix_state(batch, length),
        "attention, bfloat16": lambda: attention(batch, length, torch.bfloat16),
        "attention, float32": lambda: attention(batch, length, torch.float32),
    }
    if importlib.util.find_spec("fla") is not None:
        found["gated linear attention, bfloat16"] = lambda: gated_linear_attention(batch, length)
    return found


def measured(name: str, length: int, make: Callable[[], Case]) -> float | str:
    """Milliseconds, or why there are none."""
    found: float | str
    try:
        found = least(make())
    except torch.cuda.OutOfMemoryError:
        found = "out of memory"
    finally:
        torch.cuda.empty_cache()
    click.echo(f"{length} tokens, {name}: {found}", err=True)
    return found


@click.command(help=__doc__)
@click.option("--batch", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default="docs/results")
def main(batch: int, out: Path) -> None:
    """Measure and write."""
    if not torch.cuda.is_available():
        raise click.ClickException(
            "PyTorch sees no CUDA device: this measures kernels for GPUs, and only there."
        )
    choice = choose_kernel("cuda")
    if choice.name != "triton":
        raise click.ClickException(f"the Triton kernels can't run here: {choice.reason}.")
    import triton

    torch.manual_seed(0)
    figures: dict[str, dict[str, float | str]] = {}
    for length in LENGTHS:
        made = cases(batch, length)
        figures[str(length)] = {name: measured(name, length, make) for name, make in made.items()}
    write_section(
        out,
        "gpu",
        {
            "device": torch.cuda.get_device_name(),
            "triton": triton.__version__,
            "batch": batch,
            "heads": HEADS,
            "keys": KEYS,
            "values": VALUES,
            "milliseconds": figures,
        },
    )


if __name__ == "__main__":
    main()
