"""Measures whole models along the length of a text: tokens a second and peak memory, in training and prefill.

    python plugins/resnet_bk/bench/lengths.py [--lengths 1024,4096,16384,65536] [--limit 45] [--out FOLDER]

ResNet-BK with its default layer, Mamba of mambapy's blocks and a Llama with PyTorch's fused attention, equal
in size. Every cell of the table is a process of its own; one that needs longer than its limit, or more memory
than there is, says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil
import torch
from comparison.models import Builder, llama, mamba, resnet_bk
from kernels_results import FOLDER, write_section
from torch import nn
from torch.nn import functional

Figures = dict[str, Any]
VOCABULARY = 1024
MODELS: dict[str, Builder] = {
    "resnet-bk": partial(resnet_bk, VOCABULARY, 6),
    "mamba": partial(mamba, VOCABULARY, 7),
    "llama": partial(llama, VOCABULARY, 4, 400),
}
MODES = ("training", "prefill")
# A cell is run again as long as it fits in so many seconds.
ENOUGH_SECONDS = 3.0
ENOUGH_RUNS = 5


class Peak:
    """The largest resident size of this process while it runs, beyond what it was before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._largest = self._before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self._largest = max(self._largest, self._process.memory_info().rss)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def mebibytes(self) -> float:
        """The difference."""
        return (self._largest - self._before) / 2**20


def logits_of(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The logits of the token after each token."""
    found = model(tokens)
    return found if isinstance(found, torch.Tensor) else found.logits


def training_step(model: nn.Module, tokens: torch.Tensor) -> None:
    """The gradients of the mean loss of every next token."""
    model.zero_grad(set_to_none=True)
    logits = logits_of(model, tokens)[:, :-1]
    functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()


@torch.inference_mode()
def prefill(model: nn.Module, tokens: torch.Tensor) -> None:
    """The logits of every token, no gradients."""
    logits_of(model, tokens)


def measure(name: str, mode: str, length: int, threads: int) -> Figures:
    """One cell, in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = MODELS[name]().train(mode == "training")
    run: Callable[[nn.Module, torch.Tensor], None] = training_step if mode == "training" else prefill
    run(model, torch.randint(VOCABULARY, (1, 64)))  # what is loaded or compiled at first use
    model.zero_grad(set_to_none=True)
    tokens = torch.randint(VOCABULARY, (1, length))
    times: list[float] = []
    with Peak() as peak:
        while not times or (len(times) < ENOUGH_RUNS and sum(times) + min(times) < ENOUGH_SECONDS):
            started = time.perf_counter()
            run(model, tokens)
            times.append(time.perf_counter() - started)
    return {
        "tokens_per_second": length / min(times),
        "runs": len(times),
        "peak_mebibytes": peak.mebibytes,
        "scan": getattr(model, "scan_on_processors", None),
    }


def cell(name: str, mode: str, length: int, threads: int, limit: float) -> Figures:
    """One cell, in a process of its own."""
    options = [f"--model={name}", f"--mode={mode}", f"--length={length}", f"--threads={threads}"]
    command = [sys.executable, str(Path(__file__).resolve()), "cell", *options]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failure": f"over {limit:g} s"}
    if result.returncode < 0:
        return {"failure": f"killed by signal {-result.returncode}"}
    if result.returncode:
        return {"failure": result.stderr.strip().splitlines()[-1][:80] or "failed"}
    found: Figures = json.loads(result.stdout.splitlines()[-1])
    return found


def parameters() -> dict[str, int]:
    """The size of each model."""
    return {
        name: sum(parameter.numel() for parameter in build().parameters()) for name, build in MODELS.items()
    }


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--lengths", default="1024,4096,16384,65536", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--limit", default=45.0, show_default=True, help="Seconds for one cell.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default="docs/results")
@click.pass_context
def main(context: click.Context, lengths: str, threads: int, limit: float, out: Path) -> None:
    """Measure all cells and write them."""
    if context.invoked_subcommand:
        return
    torch.set_num_threads(threads)
    cells: dict[str, dict[str, dict[str, Figures]]] = {mode: {} for mode in MODES}
    for mode in MODES:
        for length in map(int, lengths.split(",")):
            cells[mode][str(length)] = {}
            for name in MODELS:
                found = cell(name, mode, length, threads, limit)
                cells[mode][str(length)][name] = found
                click.echo(f"{mode} {length} {name}: {json.dumps(found)}", err=True)
    scans = {found["mamba"].get("scan") for by_length in cells.values() for found in by_length.values()}
    write_section(
        out,
        "lengths",
        {
            "limit_seconds": limit,
            "parameters": parameters(),
            "mamba_scan": "compiled" if "compiled" in scans else "mambapy",
            "cells": cells,
        },
    )


@main.command(name="cell", hidden=True)
@click.option("--model", required=True, type=click.Choice(list(MODELS)))
@click.option("--mode", required=True, type=click.Choice(MODES))
@click.option("--length", required=True, type=int)
@click.option("--threads", required=True, type=int)
def one_cell(model: str, mode: str, length: int, threads: int) -> None:
    """Measure one cell, and print it."""
    click.echo(json.dumps(measure(model, mode, length, threads)))


if __name__ == "__main__":
    main()
