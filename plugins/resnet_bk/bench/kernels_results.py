"""The results of the kernels' benchmarks: a JSON file with a part for each script, and a page made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from comparison.page import table, verdict
from comparison.results import FOLDER, machine

from modelplug.atomic import write_atomically

__all__ = ["FOLDER", "write_section"]

Figures = dict[str, Any]
NAME = "resnet-bk-kernels"
OPERATIONS = {
    "full_diagonal": "full diagonal",
    "operator_forward": "causal operator",
    "operator_both_ways": "causal operator, forward and backward",
    "gates_both_ways": "causal gates, forward and backward",
    "causal_gates": "causal gates",
}
TIMES_FASTER = 2000
TIMES_COPYING = {"full_diagonal": 2, "operator_both_ways": 3}
SPREAD = 0.2
MICROSECONDS_A_TOKEN = 200
HOW_TIMES_ARE_TAKEN = (
    "Processor time, the least of many. Copying: as many bytes as the operation reads and writes once, at "
    "the speed of a copy too large for any cache, measured in turns with it."
)
WHAT_IS_REPLACED = (
    "8 chains of 2048 sites, z = i. The method goes site by site through PyTorch operations, mapped over the "
    "chains; it is written anew here from its description."
)
MODELS = {"resnet-bk": "ResNet-BK", "mamba": "Mamba", "llama": "Llama"}


def write_section(folder: Path, name: str, figures: Figures) -> None:
    """Put the figures of one script in place of its earlier ones, and make the page anew.

    Args:
        folder: Where both files are.
        name: The script's part: `kernels`, `lengths` or `gpu`.
        figures: What it measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.json"
    content: Figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content[name] = {"machine": machine(), **figures}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    lines = ["# ResNet-BK: speed", "", f"Made from `{NAME}.json` beside this page.", ""]
    for part, render in (("kernels", kernels), ("lengths", lengths), ("gpu", gpu)):
        if part in content:
            lines += render(content[part])
    page = folder / f"{NAME}.md"
    write_atomically(page, "\n".join(lines).rstrip() + "\n")
    click.echo("\n".join(lines))
    click.echo(f"{path} and {page} are written.")


def made_with(figures: Figures) -> str:
    """Where and how figures were made."""
    where = figures["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    return (
        f"`{where['command']}`: {where['processor']}, {where['processors']} processors, {where['threads']} "
        f"thread(s), Python {where['python']}, {versions}."
    )


def kernels(figures: Figures) -> list[str]:
    """The part of `bench_resolvent.py`."""
    return [
        "## Kernels and decoding",
        "",
        HOW_TIMES_ARE_TAKEN,
        "",
        *replaced_method(figures["against_the_replaced_method"]),
        *copying(figures["against_copying"]),
        *along_the_length(figures["along_the_length"]),
        *decoding(figures["decoding"]),
        *matrix_state(figures["matrix_state_microseconds"]),
        made_with(figures) + f" Kernel: {figures['kernel']['name']}, {figures['kernel']['reason']}.",
        "",
    ]


def replaced_method(figures: Figures) -> list[str]:
    """The full diagonal beside determinants site by site."""
    names = {
        "ours": "this package, float32",
        "guarded": "determinants with their guards, complex128",
        "lean": "determinants, as few operations as stay in range, complex128",
    }
    times, faster = figures["milliseconds"], figures["times_faster_than"]
    rows = [
        [
            label,
            f"{times[name]:.3f}",
            f"{faster[name]:,.0f}" if name in faster else "1",
            f"{figures['operations_per_site'][name]:.0f}" if name in faster else "-",
            f"{figures['largest_error'][name]:.1e}",
        ]
        for name, label in names.items()
    ]
    return [
        "### The full diagonal and the method it replaces",
        "",
        WHAT_IS_REPLACED,
        "",
        verdict(
            faster["guarded"] >= TIMES_FASTER,
            f"at least {TIMES_FASTER:,} times as fast as {names['guarded']}",
            f"{faster['guarded']:,.0f} times",
        ),
        "",
        *table(["method", "ms", "times as long", "operations a site", "largest error"], rows),
    ]


def copying(cases: list[Figures]) -> list[str]:
    """The operations beside copying what they read and write."""
    names = list(cases[0]["nanoseconds"])
    lines = []
    for name, limit in TIMES_COPYING.items():
        found = [case["times_copying"][name] for case in cases]
        claim = f"{OPERATIONS[name]} within {limit} times copying for 16 or more heads"
        lines.append(verdict(max(found) <= limit, claim, ", ".join(f"{value:.2f}" for value in found)))
    rows = [
        [
            f"{case['batch']} x {case['length']:,} x {case['heads']}",
            *(f"{case['nanoseconds'][name]:.2f} ({case['times_copying'][name]:.2f})" for name in names),
            f"{case['copied_gb_per_s']:.1f}",
        ]
        for case in cases
    ]
    head = ["batch x sites x heads", *(OPERATIONS[name] for name in names), "GB/s copied"]
    return [
        "### Beside copying",
        "",
        "Nanoseconds a site (float32), and in brackets as a multiple of copying.",
        "",
        *lines,
        "",
        *table(head, rows),
    ]


def along_the_length(figures: Figures) -> list[str]:
    """Time for a site, for chains of all lengths."""
    lines = [
        verdict(spread <= SPREAD, f"{OPERATIONS[name]}: flat within {SPREAD:.0%}", f"{spread:.0%}")
        for name, spread in figures["spread"].items()
    ]
    rows = [
        [OPERATIONS[name], *(f"{time:.2f}" for time in times.values())]
        for name, times in figures["nanoseconds"].items()
    ]
    sites = next(iter(figures["nanoseconds"].values()))
    return [
        "### Longer chains",
        "",
        "Nanoseconds a site with 16 heads, as many sites in all for every length.",
        "",
        *lines,
        "",
        *table(["operation", *(f"{int(length):,} sites" for length in sites)], rows),
    ]


def decoding(figures: Figures) -> list[str]:
    """A token of the default model."""
    times = figures["microseconds"]
    return [
        "### Decoding",
        "",
        verdict(
            times["step"] < MICROSECONDS_A_TOKEN,
            f"the default model of {figures['parameters']:,} parameters takes less than "
            f"{MICROSECONDS_A_TOKEN} microseconds a token on one core",
            f"{times['step']:.0f}; reading its weights once takes {times['reading_the_weights']:.0f}, and "
            f"calling its modules one after the other {times['module_by_module']:,.0f}",
        ),
        f"- Its state takes {figures['state_bytes']:,} bytes, however long the text.",
        "",
    ]


def matrix_state(figures: Figures) -> list[str]:
    """The matrix state."""
    rows = [
        [phase, f"{times['forward']:.2f}", f"{times['both_ways']:.2f}"] for phase, times in figures.items()
    ]
    return [
        "### Matrix state",
        "",
        "Microseconds a token: 4 heads, 16 keys, 32 values, 16 texts of 256 tokens.",
        "",
        *table(["phase", "forward", "forward and backward"], rows),
    ]


def cell(figures: Figures, ours: Figures) -> str:
    """What one model does at one length, and how many times as much ResNet-BK does."""
    if "failure" in figures:
        return str(figures["failure"])
    text = f"{figures['tokens_per_second']:,.0f} / {figures['peak_mebibytes']:,.0f}"
    if ours is figures or "failure" in ours:
        return text
    speed = ours["tokens_per_second"] / figures["tokens_per_second"]
    return f"{text} ({speed:.2f} x)"


def lengths(figures: Figures) -> list[str]:
    """The part of `lengths.py`."""
    lines = ["## Models along the length", "", how_models_run(figures), ""]
    for mode, title in (("training", "Training: forward and backward"), ("prefill", "Prefill: forward only")):
        rows = [
            [
                label,
                *(cell(cells[name], cells["resnet-bk"]) for cells in figures["cells"][mode].values()),
            ]
            for name, label in MODELS.items()
        ]
        head = ["model", *(f"{int(length):,} tokens" for length in figures["cells"][mode])]
        lines += [f"### {title}", "", *table(head, rows)]
    return [*lines, made_with(figures), ""]


def how_models_run(figures: Figures) -> str:
    """What the cells of the table mean."""
    counts = ", ".join(f"{count:,} ({MODELS[name]})" for name, count in figures["parameters"].items())
    scan = "a compiled, fused scan" if figures["mamba_scan"] == "compiled" else "the scan of the library"
    return (
        f"Whole models of {counts} parameters, one text, float32. Tokens a second / peak memory in MiB "
        "beyond the model at rest; in brackets how many times as fast ResNet-BK is. Every cell is a process "
        f"of its own, stopped after {figures['limit_seconds']} s. Mamba is made of mambapy's blocks with "
        f"{scan}; Llama has the fused attention of PyTorch."
    )


def gpu(figures: Figures) -> list[str]:
    """The part of `kernels_gpu.py`."""
    times = figures["milliseconds"]
    names = list(next(iter(times.values())))
    rows = [[name, *(_milliseconds(found[name]) for found in times.values())] for name in names]
    how = (
        f"{figures['device']}, Triton {figures['triton']}. Milliseconds for {figures['batch']} text(s), "
        f"{figures['heads']} heads of {figures['keys']} keys and {figures['values']} values, forward and "
        "backward, the least of many."
    )
    head = ["operation", *(f"{int(length):,} tokens" for length in times)]
    return ["## On a GPU", "", how, "", *table(head, rows), made_with(figures), ""]


def _milliseconds(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"
