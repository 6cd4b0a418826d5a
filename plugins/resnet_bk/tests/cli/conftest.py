"""The command line run within this process, on a small text and a small model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from resnet_bk.cli.main import main

SENTENCES = ["the cat sat on the mat.", "the dog ran in the park.", "a bird sang in a tree."]


class Outcome(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def libraries_imported() -> None:
    """Import what leaves traces in the process before the first test, and leave processors to others."""
    import transformers

    torch.set_num_threads(1)
    assert transformers.LlamaForCausalLM
    # They leave a thread.
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `resnet-bk` with arguments."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """A text of a few hundred sentences."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join(SENTENCES[i * i % 3] for i in range(400)))
    return path


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """The configuration of a tiny model that transformers knows."""
    path = tmp_path / "llama.json"
    path.write_text(
        json.dumps(
            {
                "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
                "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True,
            }
        )
    )  # fmt: skip
    return path


@pytest.fixture
def quick(llama: Path) -> list[object]:
    """Options for a short run."""
    return [
        "--model", llama, "--vocab-size", 280, "--steps", 12, "--batch-size", 4, "--sequence-length", 16,
        "--precision", "float32", "--device", "cpu", "--learning-rate", 0.01, "--log-every", 4,
    ]  # fmt: skip
