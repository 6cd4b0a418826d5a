"""Measures the resolvent kernels against what bounds them, and prints JSON.

    python bench/bench_resolvent.py [--threads 1] [--repeats 40] [--skip-sequential]

Every figure is the least of several runs (processor time with one thread, so that a busy machine disturbs
less), and what counts are ratios within one run: to the time it takes to copy as many bytes as the operation
reads and writes once, and to the method that this package replaces: determinant recursions in PyTorch
operations, one site after the other, mapped over the batch.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_operator,
    choose_kernel,
    gated_state,
    green_diagonal,
)

_COPIED = 256 << 20


def keep_memory() -> None:
    """Let freed memory stay with the process: page faults of fresh buffers would be measured otherwise."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            library.mallopt(option, 1 << 30)


def least(function: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for _ in range(repeats):
        started = clock()
        function()
        times.append(clock() - started)
    return min(times)


def seconds_per_byte(repeats: int) -> float:
    """How long a byte read or written takes in a copy too large for any cache."""
    source = torch.ones(_COPIED // 8)
    target = torch.zeros_like(source)
    return least(lambda: target.copy_(source), max(5, repeats // 4)) / _COPIED


def sequential_diagonal(potential: torch.Tensor, coupling: torch.Tensor, z: complex) -> torch.Tensor:
    """G_ii of each sequence from determinants of its leading and trailing blocks, in complex128, by vmap.

    Kept in range by dividing through the size of the last value, with the logarithms of the divisors besides.
    """

    def determinants(sites: torch.Tensor, links: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        before, current = torch.zeros_like(sites[0]), torch.ones_like(sites[0])
        scale = torch.zeros_like(sites[0].real)
        values, scales = [current], [scale]
        for site, link in zip(sites.unbind(0), links.unbind(0), strict=True):
            following = site * current - link * before
            size = following.abs()
            before, current = current / size, following / size
            scale = scale + size.log()
            values.append(current)
            scales.append(scale)
        return torch.stack(values), torch.stack(scales)

    def single(sites: torch.Tensor, links: torch.Tensor) -> torch.Tensor:
        front, front_scale = determinants(sites, links)
        back, back_scale = determinants(sites.flip(0), links.roll(-1, 0).flip(0))
        back, back_scale = back.flip(0), back_scale.flip(0)
        growth = front_scale[:-1] + back_scale[1:] - front_scale[-1]
        return front[:-1] * back[1:] / front[-1] * torch.exp(growth)

    links = coupling.clone()
    links[..., 0] = 0
    return torch.vmap(single)(potential.to(torch.complex128) - z, links)


def problem(batch: int, length: int, heads: int) -> dict[str, torch.Tensor]:
    """Random chains as a model has them: (batch, heads, length), heads side by side in memory."""
    shape = (batch, length, heads)
    return {
        "potential": torch.randn(shape).transpose(1, 2),
        "link": torch.rand(shape).transpose(1, 2),
        "energy": torch.rand(heads, 1) * 3 - 1.5,
        "eta": torch.rand(heads, 1) + 0.1,
        "inputs": torch.randn(batch, length, heads, 1).transpose(1, 2),
    }


def against_the_sequential_method(repeats: int) -> dict[str, float]:
    """8 x 2048 sites, one chain each: the case of the package's predecessors."""
    h = problem(8, 2048, 1)
    a, s = h["potential"][:, 0], h["link"][:, 0]
    ours = least(lambda: green_diagonal(a, s, 0.0, 1.0), 3 * repeats)
    theirs = least(lambda: sequential_diagonal(a, s, 1.0j), 2)
    error = (green_diagonal(a, s, 0.0, 1.0) - sequential_diagonal(a, s, 1.0j)).abs().max()
    return {
        "milliseconds": 1e3 * ours,
        "sequential_milliseconds": 1e3 * theirs,
        "times_faster": theirs / ours,
        "largest_difference": float(error),
    }


def against_copying(batch: int, length: int, heads: int, repeats: int) -> dict[str, Any]:
    """Nanoseconds a site, and as a multiple of copying what is read and written once."""
    h = problem(batch, length, heads)
    a, c, e, w, u = (h[name] for name in ("potential", "link", "energy", "eta", "inputs"))
    leaves = [tensor.clone().requires_grad_() for tensor in (u, a, c)]
    cotangent = torch.randn_like(causal_green_operator(u, a, c, e, w).values)
    gate_leaves = leaves[1:]

    def both_ways() -> None:
        values = causal_green_operator(leaves[0], leaves[1], leaves[2], e, w).values
        torch.autograd.grad(values, leaves, cotangent)

    def gates_both_ways() -> None:
        gates = causal_gates(gate_leaves[0], gate_leaves[1], e, w)
        torch.autograd.grad([gates.alpha, gates.beta], gate_leaves, [a, a])

    # Bytes a site: float32 inputs and gradients 4, complex64 results and cotangents 8.
    cases: dict[str, tuple[Callable[[], Any], int]] = {
        "full_diagonal": (lambda: green_diagonal(a, c, e, w), 4 + 4 + 8),
        "operator_forward": (lambda: causal_green_operator(u, a, c, e, w), 3 * 4 + 2 * 8),
        "operator_both_ways": (both_ways, 3 * 4 + 2 * 8 + 4 + 3 * 8 + 3 * 4),
        "gates_both_ways": (gates_both_ways, 2 * 4 + 4 * 4 + 5 * 4 + 2 * 4),
    }
    byte = seconds_per_byte(repeats)
    sites = batch * length * heads
    result: dict[str, Any] = {"batch": batch, "length": length, "heads": heads, "copy_gb_per_s": 1e-9 / byte}
    for name, (function, size) in cases.items():
        taken = least(function, repeats) / sites
        result[name] = {"nanoseconds": 1e9 * taken, "times_copying": taken / (size * byte)}
    return result


def along_the_length(lengths: list[int], sites: int, heads: int, repeats: int) -> dict[str, Any]:
    """Nanoseconds a site of the causal gates and of the full diagonal, for as many sites in longer chains."""
    names = ("causal_gates", "full_diagonal")
    result: dict[str, Any] = {str(length): dict.fromkeys(names, math.inf) for length in lengths}
    # In turns: a disturbance hits all lengths alike.
    for _ in range(repeats):
        for length in lengths:
            h = problem(max(1, sites // length), length, heads)
            a, c, e, w = (h[name] for name in ("potential", "link", "energy", "eta"))
            taken = {
                "causal_gates": least(partial(causal_gates, a, c, e, w), 2),
                "full_diagonal": least(partial(green_diagonal, a, c, e, w), 2),
            }
            for name in names:
                entry = result[str(length)]
                entry[name] = min(entry[name], 1e9 * taken[name] / a.numel())
    for name in names:
        times = [result[str(length)][name] for length in lengths]
        result[f"{name}_spread"] = max(times) / min(times) - 1
    return result


def matrix_state(repeats: int) -> dict[str, Any]:
    """Microseconds a token: 4 heads, 16 keys, 32 values, 16 x 256 tokens."""
    batch, heads, length = 16, 4, 256
    result: dict[str, Any] = {}
    for phase in ("real", "complex"):
        shape = (batch, length, heads)
        gates = causal_gates(
            torch.randn(shape).transpose(1, 2), torch.rand(shape).transpose(1, 2), 0.0, 0.1, phase=phase
        )
        q, k, v = (torch.randn(*shape, size).transpose(1, 2).requires_grad_() for size in (16, 16, 32))
        alpha, beta = gates.alpha.detach().requires_grad_(), gates.beta.detach().requires_grad_()
        cotangent = torch.randn(batch, heads, length, 32)

        def both_ways(leaves: Any = (q, k, v, alpha, beta), cotangent: Any = cotangent) -> None:
            torch.autograd.grad(gated_state(*leaves).outputs, leaves, cotangent)

        with torch.no_grad():
            forward = least(partial(gated_state, q, k, v, alpha, beta), repeats)
        result[phase] = {
            "forward": 1e6 * forward / (batch * length),
            "both_ways": 1e6 * least(both_ways, repeats) / (batch * length),
        }
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--skip-sequential", action="store_true")
    arguments = parser.parse_args()
    keep_memory()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    choice = choose_kernel("cpu")
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "kernel": {"name": choice.name, "reason": choice.reason},
        "threads": arguments.threads,
        "against_copying": [
            against_copying(*shape, arguments.repeats)
            for shape in ((8, 2048, 16), (8, 2048, 64), (16, 8192, 16))
        ],
        "along_the_length_nanoseconds": along_the_length(
            [1_000, 10_000, 100_000, 1_000_000], 1_000_000, 16, max(3, arguments.repeats // 8)
        ),
        "matrix_state_microseconds": matrix_state(arguments.repeats),
    }
    if not arguments.skip_sequential:
        report["against_the_sequential_method"] = against_the_sequential_method(arguments.repeats)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
