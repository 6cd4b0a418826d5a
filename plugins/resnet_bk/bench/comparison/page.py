"""What the parts of the page of results share."""

from __future__ import annotations

import statistics
from typing import Any

__all__ = [
    "NAMES", "OURS", "Runs", "made_with", "mean_and_spread", "models_in", "seeds_of", "spread", "table",
    "verdict",
]  # fmt: skip

Runs = dict[str, Any]
OURS = "resnet-bk"
NAMES = {
    OURS: "ResNet-BK",
    "llama": "Llama",
    "mamba": "Mamba",
    "sigmoid": "the same, plain sigmoid gates",
    "attention": "the same, softmax attention without positions",
    "resnet-bk-no-copy": "ResNet-BK without copy memory",
    "resnet-bk-free-0": "ResNet-BK without copy memory, potential in all heads",
    "resnet-bk-free-half": "ResNet-BK without copy memory, potential in half of the heads",
    "sigmoid-no-copy": "without copy memory, plain sigmoid gates",
    "attention-no-copy": "without copy memory, softmax attention without positions",
}


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table: the first column to the left, figures to the right."""
    return [
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def verdict(met: bool, claim: str, figures: str) -> str:
    """One line of what was aimed at."""
    return f"- {'Met' if met else '**Missed**'}: {claim} ({figures})."


def seeds_of(runs: Runs, prefix: str) -> list[Runs]:
    """The runs of one model, in the order of their seeds."""
    return [runs[name] for name in sorted(runs) if name.rpartition("/")[0] == prefix]


def models_in(runs: Runs, prefix: str) -> list[str]:
    """The models that have such runs, in our order."""
    return [name for name in NAMES if seeds_of(runs, f"{prefix}{name}")]


def spread(values: list[float]) -> float:
    """From the least to the largest."""
    return max(values) - min(values)


def mean_and_spread(values: list[float]) -> str:
    """Both as text; of a single value, just it."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({spread(values):.3f})"


def made_with(content: Runs) -> list[str]:
    """Where and how the figures were made."""
    lines = []
    for machine in content["machines"]:
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        lines.append(
            f"- `{machine['command']}`: {machine['processor']}, {machine['processors']} processors, "
            f"computed on the {machine['device']}, {machine['threads']} thread(s), "
            f"Python {machine['python']}, {versions}"
        )
    return [*lines, ""]
