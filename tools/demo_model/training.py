"""The training loop."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

import attrs
import torch
from torch.nn import functional

from demo_model.corpus import IGNORED
from demo_model.network import Llama
from demo_model.tokenizer import EOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo_model.corpus import Corpus
    from demo_model.network import Shape

__all__ = ["TrainingOptions", "TrainingResult", "sample", "train"]


@attrs.frozen(kw_only=True)
class TrainingOptions:
    """How to train.

    Attributes:
        steps: Number of optimiser steps.
        rows: Examples in a batch.
        seed: Seeds the weights and the choice of examples.
        learning_rate: The highest rate, reached after the warm-up.
        warm_up: Steps in which the rate rises to it.
        weight_decay: Decay of the matrices; the norms have none.
        dropout: The share of each layer's contribution that is dropped while training.
        report_every: Steps between two reports.
    """

    steps: int = 2000
    rows: int = 16
    seed: int = 20
    learning_rate: float = 3e-3
    warm_up: int = 100
    weight_decay: float = 0.1
    dropout: float = 0.1
    report_every: int = 50


@attrs.frozen(kw_only=True)
class TrainingResult:
    """A trained model and how good it is.

    Attributes:
        model: The model.
        training_loss: Mean over the last 50 steps, with dropout, in nats per token.
        held_out_loss: On text that was never trained on, in nats per token.
        seconds: How long the training took.
    """

    model: Llama
    training_loss: float
    held_out_loss: float
    seconds: float


def learning_rate(step: int, options: TrainingOptions) -> float:
    """A linear rise, then half a cosine down to a twentieth."""
    if step < options.warm_up:
        return options.learning_rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return options.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    corpus: Corpus, shape: Shape, options: TrainingOptions, report: Callable[[str], None]
) -> TrainingResult:
    """Train a new model; the same seed, machine and thread count give the same weights."""
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    chance = random.Random(options.seed)  # noqa: S311  chooses examples, nothing secret
    model = Llama(shape, options.dropout)
    optimiser = _optimiser(model, options)
    losses: list[float] = []
    begin = time.perf_counter()
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, options)
        inputs, targets = corpus.batch(options.rows, chance)
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % options.report_every == 0 or step + 1 == options.steps:
            recent = losses[-options.report_every :]
            seconds = time.perf_counter() - begin
            report(f"step {step + 1:5d}  loss {sum(recent) / len(recent):.4f}  {seconds:7.1f} s")
    model.eval()
    last = losses[-50:]
    return TrainingResult(
        model=model,
        training_loss=sum(last) / len(last),
        held_out_loss=held_out_loss(model, corpus),
        seconds=time.perf_counter() - begin,
    )


def held_out_loss(model: Llama, corpus: Corpus) -> float:
    """Mean loss on the held-out text, in nats per token."""
    inputs, targets = corpus.held_out_batch()
    with torch.no_grad():
        logits = model(inputs)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()


def sample(model: Llama, prompt: list[int], count: int) -> list[int]:
    """Up to `count` tokens that follow `prompt`, the likeliest every time, until the end token."""
    tokens = list(prompt)
    with torch.no_grad():
        while len(tokens) < len(prompt) + count and tokens[-1] != EOS:
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def _optimiser(model: Llama, options: TrainingOptions) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    norms = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.95))
