"""Tokenizers and the traces that their libraries leave."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from resnet_bk.data import Tokenizer, train_tokenizer

TEXT = "To be, or not to be: that is the question.\n\nWhether 'tis nobler in the mind to suffer\n" * 20


@pytest.fixture(scope="session", autouse=True)
def libraries_imported() -> None:
    """Import what leaves traces in the process before the first test."""
    if importlib.util.find_spec("datasets") is not None:
        importlib.import_module("datasets")


@pytest.fixture(scope="session")
def text() -> str:
    """Some English."""
    return TEXT


@pytest.fixture(scope="session")
def tokenizer(text: str) -> Tokenizer:
    """A byte-level BPE tokenizer made from that text."""
    return train_tokenizer([text], 300)


@pytest.fixture(scope="session")
def sentencepiece_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> Path:
    """A SentencePiece model made from that text."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text.txt").write_text(text)
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "pieces"),
        vocab_size=37,
        minloglevel=2,
        num_threads=1,
    )
    return folder / "pieces.model"
