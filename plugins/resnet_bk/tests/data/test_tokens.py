"""Streams of tokens in memory and in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from resnet_bk.data import DataError, Tokenizer, TokenStream, tokenize, tokenize_to_file

DOCUMENTS = [["to be", " or not"], [""], ["that", " is", " the", " question"], ["\n"]]


def documents() -> Iterator[Iterator[str]]:
    """The documents, each in pieces."""
    return (iter(pieces) for pieces in DOCUMENTS)


def equal(one: TokenStream, other: TokenStream) -> bool:
    """Whether two streams are the same."""
    return bool(numpy.array_equal(one.tokens, other.tokens) and numpy.array_equal(one.starts, other.starts))


def test_documents_follow_each_other_with_an_end_between(tokenizer: Tokenizer) -> None:
    """Pieces of a document are joined, its end is marked once, and empty documents leave no trace."""
    stream = tokenize(documents(), tokenizer)
    parts = [tokenizer.encode(pieces) for pieces in DOCUMENTS if any(pieces)]
    expected, starts = [], []
    for part in parts:
        starts.append(len(expected))
        expected += [*(token for tokens in part for token in tokens), tokenizer.end_of_text]
    assert stream.tokens.tolist() == expected
    assert stream.starts.tolist() == starts


@pytest.mark.parametrize("copies", [1, 70])
def test_a_file_holds_the_same_as_memory(tokenizer: Tokenizer, tmp_path: Path, copies: int) -> None:
    """Also where there are more documents than are encoded at a time."""
    path = tmp_path / "sub" / "train.bin"

    def many() -> Iterator[Iterator[str]]:
        return (document for _ in range(copies) for document in documents())

    stream = tokenize_to_file(many(), tokenizer, path, source="a")
    assert equal(stream, tokenize(many(), tokenizer))
    assert isinstance(stream.tokens, numpy.memmap)
    assert stream.tokens.dtype == numpy.uint16


def test_a_file_is_made_once_for_the_same_source(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The second time nothing is read; another source, or a lost file, makes it anew."""
    path = tmp_path / "train.bin"
    first = tokenize_to_file(documents(), tokenizer, path, source="a")

    def unreadable() -> Iterator[Iterator[str]]:
        pytest.fail("the documents were read again")
        yield iter([])

    assert equal(tokenize_to_file(unreadable(), tokenizer, path, source="a"), first)
    other = tokenize_to_file(iter([iter(["another"])]), tokenizer, path, source="b")
    assert not equal(other, first)


def test_a_file_cut_off_while_it_was_made_is_made_anew(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Documents that fail in the middle leave nothing that would be taken for the whole."""
    path = tmp_path / "train.bin"
    tokenize_to_file(documents(), tokenizer, path, source="a")

    def failing() -> Iterator[Iterator[str]]:
        yield iter(["some"])
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        tokenize_to_file(failing(), tokenizer, path, source="b")
    again = tokenize_to_file(documents(), tokenizer, path, source="a")
    assert equal(again, tokenize(documents(), tokenizer))


def test_no_text_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Nothing, or only empty documents."""
    for nothing in ([], [[""], []]):
        with pytest.raises(DataError, match="no text"):
            tokenize((iter(pieces) for pieces in nothing), tokenizer)
        with pytest.raises(DataError, match="no text"):
            tokenize_to_file((iter(p) for p in nothing), tokenizer, tmp_path / "t.bin", source="a")
