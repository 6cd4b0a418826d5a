"""Tokenizers: read from files, and made from text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.data import Tokenizer, TokenizerError, load_tokenizer, train_tokenizer
from resnet_bk.data.tokenizers import fingerprint


@given(text=st.text(max_size=40))
def test_any_text_survives_the_trip(tokenizer: Tokenizer, text: str) -> None:
    """A byte-level tokenizer spells every text exactly, whatever it was made from."""
    tokens = tokenizer.encode([text])[0]
    assert all(0 <= token < tokenizer.vocabulary for token in tokens)
    if "<|endoftext|>" not in text:
        assert tokenizer.decode(tokens) == text


def test_a_new_tokenizer_learns_from_the_text(tokenizer: Tokenizer, text: str) -> None:
    """It has as many tokens as were asked for, and needs fewer of them than there are bytes."""
    assert tokenizer.vocabulary == 300
    assert len(tokenizer.encode([text])[0]) < len(text.encode()) / 2


def test_making_it_again_gives_the_same(tokenizer: Tokenizer, text: str) -> None:
    """The same text makes the same tokenizer, in whatever pieces it comes."""
    lines = text.splitlines(keepends=True)
    assert fingerprint(train_tokenizer(lines, 300)) == fingerprint(train_tokenizer(lines, 300))
    assert fingerprint(train_tokenizer([text], 300)) == fingerprint(tokenizer)


def test_transformers_reads_what_is_written(tokenizer: Tokenizer, text: str, tmp_path: Path) -> None:
    """The files beside a checkpoint are a tokenizer for AutoTokenizer, and for us."""
    from transformers import AutoTokenizer

    for name, content in tokenizer.files().items():
        (tmp_path / name).write_bytes(content)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text)["input_ids"] == tokenizer.encode([text])[0]
    assert theirs.eos_token_id == tokenizer.end_of_text
    assert load_tokenizer(tmp_path).encode([text]) == tokenizer.encode([text])


def test_a_sentencepiece_model_is_read(sentencepiece_file: Path, tmp_path: Path) -> None:
    """From its file, or from a folder where it has its usual name."""
    tokenizer = load_tokenizer(sentencepiece_file)
    assert tokenizer.vocabulary == 37
    assert tokenizer.end_of_text == 2
    assert tokenizer.decode(tokenizer.encode(["to be"])[0]) == "to be"
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.files()["tokenizer.model"])
    assert load_tokenizer(tmp_path).encode(["to be"]) == tokenizer.encode(["to be"])


def test_limits_in_a_tokenizer_file_do_not_cut_texts(tokenizer: Tokenizer, text: str, tmp_path: Path) -> None:
    """Truncation and padding that were set for something else do not touch the data."""
    import tokenizers

    limited = tokenizers.Tokenizer.from_str(tokenizer.files()["tokenizer.json"].decode())
    limited.enable_truncation(4)
    limited.enable_padding(length=4)
    limited.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode([text, "a"]) == tokenizer.encode([text, "a"])


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\x00\x01garbage", json.dumps({"model": 1}).encode()])
def test_a_broken_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    """Whatever is wrong with it, the error is of our family and names the file."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_what_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    """A folder without a tokenizer, and a missing file."""
    with pytest.raises(TokenizerError, match="no tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(TokenizerError):
        load_tokenizer(tmp_path / "gone.json")


def test_a_vocabulary_that_is_too_small_and_no_text_are_errors() -> None:
    """256 bytes and an end need 257 tokens; and nothing can be learned from nothing."""
    with pytest.raises(TokenizerError, match="256 is too small"):
        train_tokenizer(["text"], 256)
    with pytest.raises(TokenizerError, match="no text"):
        train_tokenizer(["", ""], 300)
