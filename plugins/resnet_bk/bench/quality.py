"""Compares ResNet-BK with Llama and Mamba as language models, at equal size, tokens and optimiser.

    python plugins/resnet_bk/bench/quality.py --text tiny-shakespeare.txt
    python plugins/resnet_bk/bench/quality.py --text tiny-shakespeare.txt --timing

The first command tunes learning rate and dropout of each model and trains it with each seed; every
finished run is saved, and one that was saved is not run again. Several processes may write into one file, a
model each (`--model`). The second measures all models in turn, step by step.
"""

from __future__ import annotations

import functools
import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import torch
from comparison.ablation import has_memory, memory_off
from comparison.mamba import check_scan, scan_used
from comparison.models import Builder, add_dropout, llama, mamba, resnet_bk
from comparison.optimisation import Trainer, logits_of
from comparison.results import FOLDER, Results
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.data import train_tokenizer

VOCABULARY = 1024
HELD_OUT = 0.05
RATES = (1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3, 1.2e-2, 1.6e-2)
FIRST_RATE = 4e-3
DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4)
MODELS: dict[str, Builder] = {
    "resnet-bk": functools.partial(resnet_bk, VOCABULARY, 6),
    "llama": functools.partial(llama, VOCABULARY, 4, 400),
    "mamba": functools.partial(mamba, VOCABULARY, 7),
}
VARIANTS: dict[str, dict[str, Builder]] = {
    "resnet-bk": {
        "resnet-bk-no-copy": functools.partial(resnet_bk, VOCABULARY, 6, copy_key_dim=0),
        "resnet-bk-free-0": functools.partial(resnet_bk, VOCABULARY, 6, copy_key_dim=0, free_heads=0),
        "resnet-bk-free-half": functools.partial(resnet_bk, VOCABULARY, 6, copy_key_dim=0, free_heads=4),
    }
}


@attrs.frozen
class Corpus:
    """Tokens to train on, and held out, (N,); how many texts of what length make a batch; and where."""

    training: Tensor
    held_out: Tensor
    rows: int
    length: int
    device: str

    @classmethod
    def read(cls, path: Path, rows: int, length: int, device: str) -> Corpus:
        """Cut a text in two, and train a byte-level BPE on the first part."""
        text = path.read_text(encoding="utf-8")
        cut = int(len(text) * (1 - HELD_OUT))
        tokenizer = train_tokenizer([text[:cut]], VOCABULARY)
        training, held_out = tokenizer.encode([text[:cut], text[cut:]])
        return cls(torch.tensor(training), torch.tensor(held_out), rows, length, device)

    def batches(self, steps: int, seed: int) -> list[Tensor]:
        """Texts from random places, `steps` times (rows, length + 1)."""
        generator = torch.Generator().manual_seed(seed)
        starts = torch.randint(0, len(self.training) - self.length, (steps, self.rows), generator=generator)
        texts = self.training.unfold(0, self.length + 1, 1)
        return [texts[places].to(self.device) for places in starts]


@torch.no_grad()  # type: ignore[untyped-decorator]
def held_out_loss(model: nn.Module, corpus: Corpus) -> float:
    """Nats per token of what was held out, in texts of the same length one after the other."""
    model.eval()
    texts = corpus.held_out.unfold(0, corpus.length + 1, corpus.length).to(corpus.device)
    total = 0.0
    for part in texts.split(corpus.rows):
        logits = logits_of(model, part[:, :-1])
        total += float(functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
    model.train()
    return float(total / texts[:, 1:].numel())


def train(
    build: Builder, corpus: Corpus, *, rate: float, steps: int, seed: int, dropout: float = 0.0
) -> dict[str, Any]:
    """Train one model, and measure it half-way and at the end, and without its memory."""
    torch.manual_seed(seed)
    model = build().to(corpus.device)
    if dropout:
        add_dropout(model, dropout)
    trainer = Trainer(model, rate, steps)
    losses, middle = [], float("nan")
    started = time.monotonic()
    for number, texts in enumerate(corpus.batches(steps, seed), 1):
        losses.append(trainer.step(texts[:, :-1], texts[:, 1:])[0])
        if number == max(steps // 2, 1):
            middle = held_out_loss(model, corpus)
    figures = {
        "rate": rate,
        "dropout": dropout,
        "steps": steps,
        "seed": seed,
        "device": corpus.device,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_loss": statistics.fmean(losses[-20:]),
        "loss_half_way": middle,
        "loss": held_out_loss(model, corpus),
        "seconds": time.monotonic() - started,
    }
    if has_memory(model):
        with memory_off(model):
            figures["loss_without_memory"] = held_out_loss(model, corpus)
    return figures


def search(grid: Sequence[float], first: float, loss_of: Callable[[float], float]) -> float:
    """The value with the least loss, looked for from the first one on until both neighbours are worse."""
    tried: dict[float, float] = {}
    pending = [first]
    while pending:
        value = pending.pop(0)
        tried[value] = loss_of(value)
        if not pending:
            best = grid.index(min(tried, key=lambda value: tried[value]))
            beside = [grid[place] for place in (best - 1, best + 1) if 0 <= place < len(grid)]
            pending = [value for value in beside if value not in tried]
    return min(tried, key=lambda value: tried[value])


def tune_rate(name: str, corpus: Corpus, results: Results, steps: int) -> float:
    """The best learning rate for few steps, without dropout and with seed 0."""

    def loss_of(rate: float) -> float:
        run = functools.partial(train, MODELS[name], corpus, rate=rate, steps=steps, seed=0)
        return float(results.once(f"short-tuning/{name}/{rate:g}", run)["loss"])

    return search(RATES, FIRST_RATE, loss_of)


def tune_both(name: str, corpus: Corpus, results: Results, steps: int, rate: float) -> tuple[float, float]:
    """The best rate and dropout for all steps, with seed 0: one after the other until neither changes."""

    def loss_of(rate: float, dropout: float) -> float:
        run = functools.partial(train, MODELS[name], corpus, rate=rate, steps=steps, seed=0, dropout=dropout)
        return float(results.once(_tuning_name(name, rate, dropout), run)["loss"])

    best, dropout = (0.0, 0.0), 0.0
    while best != (rate, dropout):
        best = (rate, dropout)
        dropout = search(DROPOUTS, dropout, functools.partial(loss_of, rate))
        rate = search(RATES, rate, lambda value, dropout=dropout: loss_of(value, dropout))
    return best


def _tuning_name(name: str, rate: float, dropout: float) -> str:
    return f"tuning/{name}/{rate:g},{dropout:g}"


def compare(
    name: str, corpus: Corpus, results: Results, *, steps: int, tuning_steps: int, seeds: int
) -> None:
    """All runs of one model; those of seed 0 are there from tuning."""
    first_rate = tune_rate(name, corpus, results, tuning_steps)
    rate, dropout = tune_both(name, corpus, results, steps, first_rate)
    for seed in range(seeds):
        run = functools.partial(
            train, MODELS[name], corpus, rate=rate, steps=steps, seed=seed, dropout=dropout
        )
        if seed == 0:
            run = functools.partial(results.runs.__getitem__, _tuning_name(name, rate, dropout))
        results.once(f"training/{name}/{seed}", run)
    for seed in range(seeds):
        for other, build in {name: MODELS[name], **VARIANTS.get(name, {})}.items():
            run = functools.partial(train, build, corpus, rate=first_rate, steps=tuning_steps, seed=seed)
            if seed == 0 and other == name:
                run = functools.partial(results.runs.__getitem__, f"short-tuning/{name}/{first_rate:g}")
            results.once(f"short/{other}/{seed}", run)


def measure_times(corpus: Corpus, rounds: int) -> dict[str, Any]:
    """Milliseconds of a training step of each model, measured in turn so that all see the same machine."""
    torch.manual_seed(0)
    trainers = {name: Trainer(build().to(corpus.device), 1e-3, rounds + 3) for name, build in MODELS.items()}
    wall: dict[str, list[float]] = {name: [] for name in MODELS}
    processor: dict[str, list[float]] = {name: [] for name in MODELS}
    for number, texts in enumerate(corpus.batches(rounds + 3, 0)):
        for name, trainer in trainers.items():
            started, used = time.perf_counter(), time.process_time()
            trainer.step(texts[:, :-1], texts[:, 1:])
            if number >= 3:  # the first ones find their memory and their kernels
                wall[name].append(1e3 * (time.perf_counter() - started))
                processor[name].append(1e3 * (time.process_time() - used))
    return {
        name: {
            "least": min(wall[name]),
            "median": statistics.median(wall[name]),
            "processor_least": min(processor[name]),
            "processor_median": statistics.median(processor[name]),
            "rounds": rounds,
        }
        for name in MODELS
    }


def settings_of(text: Path, corpus: Corpus, steps: int, tuning_steps: int) -> dict[str, Any]:
    """What all runs have in common."""
    return {
        "text": text.name,
        "text_sha256": hashlib.sha256(text.read_bytes()).hexdigest(),
        "training_tokens": len(corpus.training),
        "held_out_tokens": len(corpus.held_out),
        "vocabulary": VOCABULARY,
        "length": corpus.length,
        "rows": corpus.rows,
        "steps": steps,
        "tuning_steps": tuning_steps,
    }


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    default=FOLDER / "resnet-bk-quality.json",
    show_default="docs/results/resnet-bk-quality.json",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option("--steps", default=300, show_default=True, type=click.IntRange(min=1))
@click.option("--tuning-steps", default=150, show_default=True, type=click.IntRange(min=1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--rows", default=16, show_default=True, type=click.IntRange(min=1), help="Texts in a batch.")
@click.option("--length", default=256, show_default=True, type=click.IntRange(min=2), help="Tokens of each.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), help="Only this one.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--timing", is_flag=True, help="Measure the time of a step, and nothing else.")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(min=1), help="For --timing.")
def main(
    text: Path,
    out: Path,
    threads: int,
    rows: int,
    length: int,
    models: tuple[str, ...],
    device: str,
    timing: bool,
    rounds: int,
    **options: int,
) -> None:
    """Run what is not in the results yet."""
    torch.set_num_threads(threads)
    difference = check_scan()
    corpus = Corpus.read(text, rows, length, device)
    results = Results(out, settings_of(text, corpus, options["steps"], options["tuning_steps"]), device)
    scan = scan_used(difference, device)
    if timing:
        results.put(
            "timing", {"device": device, "threads": threads, **scan, "models": measure_times(corpus, rounds)}
        )
        return
    results.put("mamba_scan", scan)
    for name in models or MODELS:
        compare(name, corpus, results, **options)


if __name__ == "__main__":
    main()
