"""Compares how models recall what they read far back, on texts longer than any they were trained on.

    python plugins/resnet_bk/bench/recall.py

A text begins with 8 pairs of a key and its value among noise, in 32 tokens; then comes noise; and its last 32
tokens ask for every key twice, with noise after each. Models of two layers learn it at 64 tokens, then at 64
and 256 in turn, and are tested at up to 2048. Every finished run is saved, and one that was saved is not run
again.
"""

from __future__ import annotations

import collections
import functools
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from comparison.ablation import has_memory, memory_off
from comparison.controls import attention_model, sigmoid_model
from comparison.mamba import check_scan, scan_used
from comparison.models import Builder, llama, mamba, resnet_bk
from comparison.optimisation import IGNORED, Trainer, logits_of
from comparison.results import FOLDER, Results
from torch import Tensor, nn

PAIRS, KEYS, VALUES, NOISES = 8, 24, 24, 8
VOCABULARY = KEYS + VALUES + NOISES
HEAD = TAIL = 32
QUERIES = TAIL // 2
SHORT, LONG = 64, 256
TESTED = (64, 512, 2048)
RATE = 4e-3
LAYERS = 2
ENOUGH, WINDOW = 0.995, 20
MODELS: dict[str, Builder] = {
    "resnet-bk": functools.partial(resnet_bk, VOCABULARY, LAYERS),
    "llama": functools.partial(llama, VOCABULARY, LAYERS, 224),
    "mamba": functools.partial(mamba, VOCABULARY, LAYERS),
    "sigmoid": functools.partial(sigmoid_model, VOCABULARY, LAYERS),
    "attention": functools.partial(attention_model, VOCABULARY, LAYERS),
    "resnet-bk-no-copy": functools.partial(resnet_bk, VOCABULARY, LAYERS, copy_key_dim=0),
    "resnet-bk-free-half": functools.partial(resnet_bk, VOCABULARY, LAYERS, copy_key_dim=0, free_heads=4),
    "sigmoid-no-copy": functools.partial(sigmoid_model, VOCABULARY, LAYERS, copy_key_dim=0),
    "attention-no-copy": functools.partial(attention_model, VOCABULARY, LAYERS, copy_key_dim=0),
}


class Texts(NamedTuple):
    """Texts of the task.

    Attributes:
        tokens: (B, N).
        targets: The value asked for at each query, (B, N); -100 elsewhere.
    """

    tokens: Tensor
    targets: Tensor


def make_texts(rows: int, length: int, generator: torch.Generator) -> Texts:
    """Draw texts: keys come first in the vocabulary, then values, then noise."""
    drawn = functools.partial(torch.randint, generator=generator)
    tokens = drawn(KEYS + VALUES, VOCABULARY, (rows, length))
    keys = torch.rand(rows, KEYS, generator=generator).argsort(1)[:, :PAIRS]
    values = drawn(KEYS, KEYS + VALUES, (rows, PAIRS))
    # Of 24 places in a row, 8 hold a pair, which is two tokens, and 16 hold one of noise.
    places = torch.rand(rows, HEAD - PAIRS, generator=generator).argsort(1)[:, :PAIRS].sort(1).values
    at = places + torch.arange(PAIRS)
    tokens.scatter_(1, at, keys)
    tokens.scatter_(1, at + 1, values)
    asked = torch.rand(rows, QUERIES, generator=generator).argsort(1) % PAIRS
    queries = length - TAIL + 2 * torch.arange(QUERIES).expand(rows, -1)
    tokens.scatter_(1, queries, keys.gather(1, asked))
    targets = torch.full_like(tokens, IGNORED).scatter_(1, queries, values.gather(1, asked))
    return Texts(tokens, targets)


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """The share of queries whose value is the most probable token."""
    asked = targets != IGNORED
    return float((logits[asked].argmax(-1) == targets[asked]).float().mean())


@torch.no_grad()  # type: ignore[untyped-decorator]
def test(model: nn.Module, texts: int) -> dict[str, float]:
    """The accuracy at each length, on texts that are the same for all models."""
    model.eval()
    found = {}
    for length in TESTED:
        made = make_texts(texts, length, torch.Generator().manual_seed(length))
        rows = max(1, 16384 // length)
        device = next(model.parameters()).device
        parts = zip(made.tokens.to(device).split(rows), made.targets.to(device).split(rows), strict=True)
        right = [accuracy(logits_of(model, part), targets) * len(part) for part, targets in parts]
        found[str(length)] = sum(right) / texts
    model.train()
    return found


def train(
    build: Builder, *, seed: int, device: str, rows: int, steps: int, short_steps: int, test_texts: int
) -> dict[str, Any]:
    """Train one model until it has learned both lengths, or the steps are used up, and test it."""
    torch.manual_seed(seed)
    model = build().to(device)
    trainer = Trainer(model, RATE, steps)
    generator = torch.Generator().manual_seed(seed)
    recent = {length: collections.deque[float](maxlen=WINDOW) for length in (SHORT, LONG)}
    curve: list[list[float]] = []
    started = time.monotonic()
    for number in range(1, steps + 1):
        length = SHORT if number <= short_steps or number % 2 else LONG
        texts = Texts(*(part.to(device) for part in make_texts(rows, length, generator)))
        _, logits = trainer.step(texts.tokens, texts.targets)
        recent[length].append(accuracy(logits, texts.targets))
        if number % 50 == 0:
            curve.append([number, *(statistics.fmean(seen) for seen in recent.values() if seen)])
            click.echo(f"step {number}: {curve[-1][1:]}")
        if all(len(seen) == WINDOW and statistics.fmean(seen) >= ENOUGH for seen in recent.values()):
            break
    figures = {
        "seed": seed,
        "steps": number,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": time.monotonic() - started,
        "training_accuracy": {
            str(length): statistics.fmean(seen or [0.0]) for length, seen in recent.items()
        },
        "curve": curve,
        "accuracy": test(model, test_texts),
    }
    if has_memory(model):
        with memory_off(model):
            figures["accuracy_without_memory"] = test(model, test_texts)
    return figures


def settings_of(options: dict[str, int]) -> dict[str, Any]:
    """What all runs have in common; the options are those of `train`."""
    return {
        "pairs": PAIRS,
        "keys": KEYS,
        "values": VALUES,
        "noises": NOISES,
        "layers": LAYERS,
        "rate": RATE,
        "trained_at": [SHORT, LONG],
        "tested_at": list(TESTED),
        **options,
    }


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option(
    "--out",
    default=FOLDER / "resnet-bk-recall.json",
    show_default="docs/results/resnet-bk-recall.json",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option("--rows", default=64, show_default=True, type=click.IntRange(min=1), help="Texts in a batch.")
@click.option("--steps", default=1500, show_default=True, type=click.IntRange(min=1))
@click.option("--short-steps", default=300, show_default=True, type=click.IntRange(min=0))
@click.option("--test-texts", default=256, show_default=True, type=click.IntRange(min=1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), help="Only this one.")
@click.option("--seed", "only", type=int, help="Only this seed.")
@click.option("--device", default="cpu", show_default=True)
def main(
    out: Path,
    seeds: int,
    threads: int,
    models: tuple[str, ...],
    only: int | None,
    device: str,
    **options: int,
) -> None:
    """Run what is not in the results yet: ResNet-BK first, then one seed of each other model."""
    torch.set_num_threads(threads)
    difference = check_scan()
    results = Results(out, settings_of(options), device)
    results.put("mamba_scan", scan_used(difference, device))
    order = [("resnet-bk", seed) for seed in range(seeds)]
    order += [(name, seed) for seed in range(seeds) for name in MODELS if name != "resnet-bk"]
    for name, seed in order:
        if name in (models or MODELS) and only in (None, seed):
            run = functools.partial(train, MODELS[name], seed=seed, device=device, **options)
            results.once(f"{name}/{seed}", run)


if __name__ == "__main__":
    main()
