"""Text files, folders and datasets as documents."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.data import (
    DataError,
    DatasetsMissingError,
    Tokenizer,
    documents_in,
    text_files,
    texts,
    tokenize,
)


def whole(path: Path) -> list[str]:
    """The documents of a path, put together."""
    return ["".join(document) for document in documents_in(path)]


def test_a_folder_stands_for_its_texts_in_order(tmp_path: Path) -> None:
    """Text files in and below it, sorted; other files are left out."""
    for name in ("b.txt", "a.md", "c.bin", "sub/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = text_files([tmp_path, tmp_path / "c.bin"])
    assert [path.name for path in found] == ["a.md", "b.txt", "d.txt", "c.bin"]


@pytest.mark.parametrize("name", ["gone.txt", "empty"])
def test_what_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    """A missing file, or a folder without texts."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        text_files([tmp_path / name])


@given(text=st.text(st.sampled_from("ab é\n\r\t "), max_size=60), piece=st.integers(1, 12))
def test_pieces_are_the_text_and_do_not_change_its_tokens(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, text: str, piece: int
) -> None:
    """However small the pieces are: put together they are the file, and tokens are those of the whole."""
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_PIECE", piece)
        pieces = [list(document) for document in documents_in(path)]
        assert ["".join(document) for document in pieces] == [text]
        encoded = [token for tokens in tokenizer.encode(pieces[0]) for token in tokens]
    assert encoded == tokenizer.encode([text])[0]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """It is left out; line ends stay as they are."""
    (tmp_path / "t.txt").write_bytes("\ufeffone\r\ntwo\n".encode())
    assert whole(tmp_path / "t.txt") == ["one\r\ntwo\n"]


def test_what_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    """The byte is named, and how to convert the file."""
    (tmp_path / "t.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match="0xef") as caught:
        whole(tmp_path / "t.txt")
    assert "iconv" in caught.value.advice


def test_no_text_at_all_is_an_error(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Empty files give no tokens, which is said."""
    (tmp_path / "t.txt").write_text("")
    with pytest.raises(DataError, match="no text"):
        tokenize(documents_in(tmp_path / "t.txt"), tokenizer)


def test_a_dataset_without_the_library_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DatasetsMissingError) as caught:
        whole(tmp_path)
    assert "pip install datasets" in caught.value.advice


def test_the_rows_of_a_dataset_are_documents(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Each row of the text column is one, with the end of a text after it; rows without text are none."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["one", "", "two"], "number": [1, 2, 3]})
    rows.save_to_disk(str(tmp_path / "rows"))
    assert whole(tmp_path / "rows") == ["one", "", "two"]
    stream = tokenize(documents_in(tmp_path / "rows"), tokenizer)
    (one, two), end = tokenizer.encode(["one", "two"]), tokenizer.end_of_text
    assert stream.tokens.tolist() == [*one, end, *two, end]
    assert stream.starts.tolist() == [0, len(one) + 1]


def test_what_is_wrong_with_a_dataset_is_said(tmp_path: Path) -> None:
    """No dataset, several in one folder, no such column, a column of numbers."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"number": [1]})
    rows.save_to_disk(str(tmp_path / "rows"))
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "several"))
    (tmp_path / "none").mkdir()
    for name, column, words in [
        ("none", "text", "no saved dataset"),
        ("several", "text", "several datasets"),
        ("rows", "text", "no column 'text'"),
        ("rows", "number", "holds int, not text"),
    ]:
        with pytest.raises(DataError, match=words):
            list(documents_in(tmp_path / name, column=column))
