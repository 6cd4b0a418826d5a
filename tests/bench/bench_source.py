"""How long it takes to plan the migration of a project with many programs, and how much memory that takes.

Once with programs for ResNet-BK before 1.0 among others, a third of all, as projects have them; and once with
nothing else. Each is a whole process, from typing the command to its end.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES = 1_500
LINES = 267
LIMIT = 60.0
MEMORY_LIMIT = 1.5e9

MEASURED = """
import json, resource, subprocess, sys
process = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "peak": usage.ru_maxrss * 1024,
    "processor_seconds": usage.ru_utime + usage.ru_stime,
    "counts": json.loads(process.stdout)["counts"],
}))
"""

HEAD = '''"""Experiment {number}: what it is about stands in the notes."""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
'''

PLAIN = [
    '''

class Block{number}(nn.Module):
    """A layer with a gate.

    Args:
        width: Of its input and its output.
        dropout: Share of what is left out in training.
    """

    def __init__(self, width, dropout=0.1):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.gate = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None):
        hidden = F.gelu(self.up(self.norm(x)))  # wide
        if mask is not None:
            hidden = hidden * mask.unsqueeze(-1)
        return x + torch.sigmoid(self.gate) * self.dropout(self.down(hidden))
''',
    '''

def read_settings_{number}(path, defaults=None):
    """The settings in a file, with defaults for what it does not say."""
    settings = dict(defaults or {{}})
    text = Path(path).read_text(encoding="utf-8")
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, _, value = line.partition("=")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value.strip()
    return settings
''',
    '''

def schedule_{number}(step, warmup=100, total=10_000, highest=3e-4, lowest=1e-5):
    """The learning rate of a step: up to the highest, and down in half a cosine."""
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return lowest + 0.5 * (highest - lowest) * (1 + math.cos(math.pi * progress))


def summarise_{number}(losses, window=5):
    """Mean, least and last loss, and those of every window."""
    means = [sum(losses[i : i + window]) / window for i in range(0, len(losses) - window, window)]
    return {{
        "mean": sum(losses) / len(losses),
        "least": min(losses),
        "last": losses[-1],
        "windows": [round(mean, 4) for mean in means],
    }}
''',
    '''

def parse_arguments_{number}():
    """What was typed."""
    parser = argparse.ArgumentParser(description="experiment {number}")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/{number}"))
    return parser.parse_args()
''',
]

OLD_IMPORTS = [
    "from src.models.resnet_bk import LanguageModel\n",
    "from src.models.resnet_bk import LanguageModel as ResNetBK\n",
    "from src.models import LanguageModel\nfrom src.utils.checkpoint_manager import CheckpointManager\n",
    (
        "from src.models.resnet_bk import LanguageModel\n"
        "from src.benchmarks.streaming_evaluator import StreamingEvaluator\n"
    ),
]

OLD = [
    '''

def build_{number}(vocab_size, device="cpu"):
    """The model of this experiment."""
    model = {model}(
        vocab_size=vocab_size,
        d_model=64,
        n_layers=4,  # four are enough
        n_seq=128,
        num_experts=4,
        dropout_p=0.1,
        use_birman_schwinger=False,  # simple mode
    ).to(device)
    return model


def train_{number}(batches, args):
    """Train it, and give the losses."""
    torch.manual_seed(42)
    model = build_{number}(1000, args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    losses = []
    for x, y in batches:
        logits = model(x)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses
''',
    '''

CONFIG_{number} = {{
    "vocab_size": 1000, "d_model": 64, "n_layers": 2, "n_seq": 128, "num_experts": 4, "dropout_p": 0.0,
}}


class Wrapper{number}(nn.Module):
    """The model with a head of its own."""

    def __init__(self):
        super().__init__()
        self.model = {model}(**CONFIG_{number})
        self.head = nn.Linear(1000, 2)

    def forward(self, x):
        return self.head(self.model(x).mean(dim=1))
''',
    '''

def test_shapes_{number}():
    """Logits have a row for each token."""
    model = {model}(100, 32, 2, 16, use_scattering_router=False)
    x = torch.randint(0, 100, (2, 16))
    assert model(x).shape == (2, 16, 100)
    assert model.d_model == 32
''',
]


def program(number: int, *, old: bool) -> str:
    """A program of about 267 lines, for ResNet-BK before 1.0 or for something else."""
    blocks: list[str] = [HEAD]
    imported = OLD_IMPORTS[number % len(OLD_IMPORTS)]
    if old:
        blocks.append(f"\n{imported}")
        model = "ResNetBK" if "as ResNetBK" in imported else "LanguageModel"
        blocks += [block.replace("{model}", model) for block in _rotated(OLD, number)[: 1 + number % 3]]
    more = itertools.cycle(_rotated(PLAIN, number))
    while sum(block.count("\n") for block in blocks) < LINES - 10:
        blocks.insert(2 + number % len(blocks), next(more))
    return "".join(
        block.format(number=f"{number}_{index}" if block in PLAIN else number)
        for index, block in enumerate(blocks)
    )


def _rotated(blocks: list[str], number: int) -> list[str]:
    return blocks[number % len(blocks) :] + blocks[: number % len(blocks)]


def files(count: int, *, every: int) -> Iterator[tuple[str, str]]:
    """The names and texts of a project: programs, and some notebooks and pages with programs in them.

    Args:
        count: How many.
        every: Each so many is one for ResNet-BK before 1.0.
    """
    for number in range(count):
        text = program(number, old=number % every == 0)
        name = f"part{number % 20}/file{number}"
        if number % 25 == 3:
            yield f"{name}.ipynb", _notebook(text)
        elif number % 25 == 8:
            yield f"{name}.md", f"# Notes {number}\n\nHow it is done:\n\n```python\n{text}```\n"
        else:
            yield f"{name}.py", text


def _notebook(text: str) -> str:
    parts = text.split("\n\n\n")
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": part.splitlines(keepends=True)}
        for part in parts
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}, indent=1)


def plan(folder: Path, home: Path) -> dict[str, Any]:
    """What planning a folder takes, and how many files of each status there are."""
    environ = {**os.environ, "MODELPLUG_HOME": str(home), "MODELPLUG_PLUGINS": "migrators"}
    program = [sys.executable, "-m", "modelplug", "migrate"]
    # The first import of a plugin is guarded by a process of its own.
    subprocess.run([*program, "status"], env=environ, stdout=subprocess.DEVNULL, check=True)
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, *program, "plan", str(folder), "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
    )
    return {**json.loads(process.stdout), "seconds": time.perf_counter() - began}


def main(out: Path, count: int = FILES) -> list[dict[str, Any]]:
    """Plan both projects.

    Args:
        out: Where they are written meanwhile.
        count: Files of each.
    """
    records = []
    for every, share in ((3, "a third of them to change"), (1, "all of them to change")):
        with tempfile.TemporaryDirectory(dir=out, prefix="source-") as scratch:
            folder = Path(scratch) / "project"
            lines = 0
            for name, text in files(count, every=every):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
                lines += text.count("\n")
            found = plan(folder, Path(scratch) / "home")
        assert found["counts"]["migrate"] == len(range(0, count, every)), found["counts"]
        title = f"plan {count} files of {lines} lines, {share}"
        seconds = found["seconds"]
        records += [
            record(f"{title}: time", seconds, "s", LIMIT * lines / 400_000, "lower"),
            record(f"{title}: speed", lines / seconds, "lines/s", 400_000 / LIMIT, "higher"),
            record(
                f"{title}: peak memory of a process", found["peak"] / 1e6, "MB", MEMORY_LIMIT / 1e6, "lower"
            ),
        ]
        records[-3]["processor_seconds"] = found["processor_seconds"]
    return records


def record(name: str, value: float, unit: str, threshold: float, better: str) -> dict[str, Any]:
    """One figure."""
    return {"name": name, "value": value, "unit": unit, "threshold": threshold, "better": better}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:])), indent=2))
