"""The models themselves, by two processes over gloo with their parameters divided."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_bk import MambaKillerConfig, ResNetBK
from resnet_bk.training.metrics import read_metrics


def losses(folder: Path) -> list[float]:
    """The loss of each step."""
    return [record["loss"] for record in read_metrics(folder / "metrics.jsonl") if "loss" in record]


def train(folder: Path, text: Path, *launcher: str) -> list[float]:
    """Train the default model on the command line, and give the loss of each step."""
    made = subprocess.run(
        [
            sys.executable, "-m", *launcher, "resnet_bk.cli", "train", str(text), "-o", str(folder),
            "--steps", "6", "--batch-size", "4", "--sequence-length", "32", "--vocab-size", "300",
            "--set", "d_model=32", "--set", "n_layers=2", "--log-every", "1", "--precision", "float32",
            "--device", "cpu", "--no-tensorboard",
        ],
        env={
            **os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder.parent),  # the launcher leaves a folder behind
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return losses(folder)


def test_a_model_with_divided_parameters_learns_the_same(tmp_path: Path) -> None:
    """Two processes with FSDP2 have the losses of one within 1e-4, and end with the same weights."""
    dice, text = random.Random(0), tmp_path / "text.txt"
    words = ["spring", "summer", "autumn", "winter", "and", "then", "comes"]
    text.write_text(" ".join(dice.choice(words) for _ in range(4000)))
    one = train(tmp_path / "one", text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    two = train(
        tmp_path / "two", text,
        "accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", str(port), "-m",
    )  # fmt: skip

    assert len(one) == 6
    assert two == pytest.approx(one, abs=1e-4)
    [first], [second] = (
        list((tmp_path / name / "checkpoints").glob("checkpoint-*-step-6")) for name in ("one", "two")
    )
    weights = ResNetBK.from_pretrained(first).state_dict()
    for name, found in ResNetBK.from_pretrained(second).state_dict().items():
        assert (found - weights[name]).abs().max() < 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"free_heads": 0},
        {"use_prime_bump": True},
        {"complex_heads": 2},
        {"mixer": "diagonal"},
        {"num_experts": 2},
    ],
)
def test_no_parameter_is_empty(settings: dict[str, Any]) -> None:
    """FSDP2 does not take one that is."""
    model = ResNetBK(MambaKillerConfig(vocab_size=20, d_model=64, n_layers=1, **settings))
    assert all(parameter.numel() for parameter in model.parameters())
