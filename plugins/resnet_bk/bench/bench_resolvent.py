"""Measures the resolvent kernels and a decoding step, and writes what was met and missed.

    python plugins/resnet_bk/bench/bench_resolvent.py [--threads 1] [--rounds 8] [--out FOLDER]

What counts are ratios within one run: to the time it takes to copy as many bytes as an operation reads and
writes once, and to the method that this package replaces.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from comparison.models import resnet_bk
from kernels_determinants import guarded_diagonal, lean_diagonal, operations_per_site
from kernels_results import FOLDER, write_section
from kernels_timing import COPIED, copying, keep_memory, least, least_of_each

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_operator,
    choose_kernel,
    gated_state,
    green_diagonal,
)

Figures = dict[str, Any]
Chain = dict[str, torch.Tensor]
SHAPES = ((8, 2048, 16), (8, 2048, 64), (16, 8192, 16))
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
SITES = 1_000_000


def chain(batch: int, length: int, heads: int) -> Chain:
    """Random chains as a model has them: (batch, heads, length), heads side by side in memory."""
    shape = (batch, length, heads)
    return {
        "potential": torch.randn(shape).transpose(1, 2),
        "link": torch.rand(shape).transpose(1, 2),
        "energy": torch.rand(heads, 1) * 3 - 1.5,
        "eta": torch.rand(heads, 1) + 0.1,
        "inputs": torch.randn(batch, length, heads, 1).transpose(1, 2),
    }


def against_the_replaced_method(rounds: int) -> Figures:
    """8 x 2048 sites, one chain each: the case of the package's predecessors."""
    torch.manual_seed(0)
    a, c = torch.randn(8, 2048), torch.rand(8, 2048)
    s = c * c
    ours = partial(green_diagonal, a, s, 0.0, 1.0)
    taken = least_of_each(
        {
            "guarded": partial(guarded_diagonal, a, c[:, 1:], c[:, 1:], 1j),
            "lean": partial(lean_diagonal, a, s, 1j),
        },
        2,
        1,
    )
    taken["ours"] = least(ours, 200 * rounds)
    exact = green_diagonal(a.double(), s.double(), 0.0, 1.0)
    found = {
        "guarded": torch.view_as_complex(guarded_diagonal(a, c[:, 1:], c[:, 1:], 1j)),
        "lean": lean_diagonal(a, s, 1j),
        "ours": ours(),
    }
    return {
        "milliseconds": {name: 1e3 * seconds for name, seconds in taken.items()},
        "times_faster_than": {name: taken[name] / taken["ours"] for name in ("guarded", "lean")},
        "operations_per_site": operations_per_site(),
        "largest_error": {name: float((value - exact).abs().max()) for name, value in found.items()},
    }


def against_copying(batch: int, length: int, heads: int, rounds: int) -> Figures:
    """Nanoseconds a site, and as a multiple of copying what is read and written once."""
    h = chain(batch, length, heads)
    a, c, e, w, u = (h[name] for name in ("potential", "link", "energy", "eta", "inputs"))
    leaves = [tensor.clone().requires_grad_() for tensor in (u, a, c)]
    cotangent = torch.randn_like(causal_green_operator(u, a, c, e, w).values)

    def both_ways() -> None:
        values = causal_green_operator(leaves[0], leaves[1], leaves[2], e, w).values
        torch.autograd.grad(values, leaves, cotangent)

    def gates_both_ways() -> None:
        gates = causal_gates(leaves[1], leaves[2], e, w)
        torch.autograd.grad([gates.alpha, gates.beta], leaves[1:], [a, a])

    # Bytes a site: float32 inputs and gradients 4, complex64 results and cotangents 8.
    sizes = {
        "full_diagonal": 4 + 4 + 8,
        "operator_forward": 3 * 4 + 2 * 8,
        "operator_both_ways": 3 * 4 + 2 * 8 + 4 + 3 * 8 + 3 * 4,
        "gates_both_ways": 2 * 4 + 4 * 4 + 5 * 4 + 2 * 4,
    }
    cases = {
        "full_diagonal": partial(green_diagonal, a, c, e, w),
        "operator_forward": partial(causal_green_operator, u, a, c, e, w),
        "operator_both_ways": both_ways,
        "gates_both_ways": gates_both_ways,
    }
    taken = least_of_each({"copy": copying(), **cases}, rounds, 5)
    byte, sites = taken.pop("copy") / COPIED, batch * length * heads
    return {
        "batch": batch,
        "length": length,
        "heads": heads,
        "copied_gb_per_s": 1e-9 / byte,
        "nanoseconds": {name: 1e9 * seconds / sites for name, seconds in taken.items()},
        "times_copying": {name: seconds / sites / (sizes[name] * byte) for name, seconds in taken.items()},
    }


def along_the_length(heads: int, rounds: int) -> Figures:
    """Nanoseconds a site of the causal gates and of the full diagonal, for as many sites in longer chains."""
    operations = {"causal_gates": causal_gates, "full_diagonal": green_diagonal}
    found: dict[str, dict[str, float]] = {name: {} for name in operations}
    for _ in range(rounds):
        for length in LENGTHS:
            h = chain(max(1, SITES // length), length, heads)
            arguments = [h[name] for name in ("potential", "link", "energy", "eta")]
            for name, operation in operations.items():
                taken = 1e9 * least(partial(operation, *arguments), 2) / arguments[0].numel()
                found[name][str(length)] = min(taken, found[name].get(str(length), taken))
    spread = {name: max(times.values()) / min(times.values()) - 1 for name, times in found.items()}
    return {"nanoseconds": found, "spread": spread}


def matrix_state(rounds: int) -> Figures:
    """Microseconds a token: 4 heads, 16 keys, 32 values, 16 x 256 tokens."""
    batch, heads, length = 16, 4, 256
    result: Figures = {}
    for phase in ("real", "complex"):
        h = chain(batch, length, heads)
        gates = causal_gates(h["potential"], h["link"], 0.0, 0.1, phase=phase)
        q, k, v = (
            torch.randn(batch, length, heads, size).transpose(1, 2).requires_grad_() for size in (16, 16, 32)
        )
        leaves = (q, k, v, gates.alpha.detach().requires_grad_(), gates.beta.detach().requires_grad_())
        cotangent = torch.randn(batch, heads, length, 32)

        def both_ways(leaves: Any = leaves, cotangent: Any = cotangent) -> None:
            torch.autograd.grad(gated_state(*leaves).outputs, leaves, cotangent)

        with torch.no_grad():
            forward = least(partial(gated_state, *leaves), 5 * rounds)
        result[phase] = {
            "forward": 1e6 * forward / (batch * length),
            "both_ways": 1e6 * least(both_ways, 5 * rounds) / (batch * length),
        }
    return result


def decoding(rounds: int) -> Figures:
    """Microseconds that the default model of a million parameters takes for a token, and where they go."""
    model = resnet_bk(1024, 6).eval()
    stream, plain = model.stream_state(), model.stream_state()
    for one in (stream, plain):
        one.prefill(list(range(16)))
    token = torch.tensor([[5]])

    @torch.inference_mode()
    def module_by_module() -> None:
        model.lm_head(plain.hidden(token))

    weights = sum(p.numel() * p.element_size() for p in model.parameters()) - 4 * (1024 - 1) * 128
    source = torch.ones(weights // 4)
    taken = least_of_each(
        {
            "step": partial(stream.step, 5),
            "reading_the_weights": partial(torch.sum, source),
            "module_by_module": module_by_module,
        },
        rounds,
        300,
    )
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "state_bytes": stream.nbytes,
        "microseconds": {name: 1e6 * seconds for name, seconds in taken.items()},
    }


@click.command(help=__doc__)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=8, show_default=True, help="How often every case has its turn.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default="docs/results")
def main(threads: int, rounds: int, out: Path) -> None:
    """Measure and write."""
    keep_memory()
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    choice = choose_kernel("cpu")
    started = time.perf_counter()
    write_section(
        out,
        "kernels",
        {
            "kernel": {"name": choice.name, "reason": choice.reason},
            "against_copying": [against_copying(*shape, rounds) for shape in SHAPES],
            "along_the_length": along_the_length(16, max(2, rounds // 2)),
            "matrix_state_microseconds": matrix_state(rounds),
            "decoding": decoding(rounds),
            "against_the_replaced_method": against_the_replaced_method(rounds),
            "seconds": time.perf_counter() - started,
        },
    )


if __name__ == "__main__":
    main()
