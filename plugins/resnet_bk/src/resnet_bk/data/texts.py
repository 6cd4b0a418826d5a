"""Texts to train on: files, folders of files, and Hugging Face datasets on disk, read piece by piece."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from resnet_bk.data.errors import DataError, DatasetsMissingError

__all__ = ["Document", "documents_in", "is_dataset", "source_hash", "text_files", "text_sources"]

Document = Iterator[str]
"""The pieces of one text, in order; a piece ends where no tokenizer joins it with the next."""

_PIECE: Final = 1 << 20


def text_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that paths stand for; a folder stands for the `.txt` and `.md` files in and below it.

    Args:
        paths: Files and folders, in the order in which they are read.

    Raises:
        DataError: One of them does not exist, or a folder has no such files.
    """
    found: list[Path] = []
    for each in paths:
        path = Path(each).expanduser()
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.suffix in (".txt", ".md"))
            if not inside:
                raise DataError(
                    f"there is no text in {path}",
                    path=path,
                    why="a folder stands for the .txt and .md files in it",
                    advice="Name the files themselves.",
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"there is no file {path}", path=path, advice="Check the name.")
    return found


def text_sources(paths: Iterable[str | Path]) -> list[Path]:
    """The files and datasets that paths stand for: a dataset stands for itself, the rest as in `text_files`.

    Args:
        paths: Files, folders, and folders that `datasets.Dataset.save_to_disk` wrote.

    Raises:
        DataError: One of them does not exist, or a folder has neither.
    """
    found: list[Path] = []
    for each in paths:
        path = Path(each).expanduser()
        found += [path] if is_dataset(path) else text_files([path])
    return found


def is_dataset(path: Path) -> bool:
    """Whether a folder is one that the library `datasets` saved."""
    return (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()


def source_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the content of files and datasets, in their order.

    Args:
        paths: What `text_sources` gave.
    """
    digest = hashlib.sha256()
    for path in paths:
        inside = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
        for file in inside:
            with file.open("rb") as stream:
                content = hashlib.sha256()
                while block := stream.read(_PIECE):
                    content.update(block)
                digest.update(content.digest())
        digest.update(b"end")
    return digest.hexdigest()


def documents_in(path: Path, *, column: str = "text") -> Iterator[Document]:
    """The documents of a text file, which is one, or of a saved dataset, whose rows are.

    Args:
        path: A file, or a folder that `datasets.Dataset.save_to_disk` wrote.
        column: The column of a dataset that holds the text.

    Raises:
        DataError: The file is not text, or the dataset lacks the column.
        DatasetsMissingError: It is a dataset, and the library is not installed.
    """
    if path.is_dir():
        for row in _open_dataset(path, column):
            yield iter([row])
    else:
        yield _pieces(path)


def _pieces(path: Path) -> Document:
    """A text file in pieces that begin with a printing character at the start of a line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rest = ""
            while block := stream.read(_PIECE):
                rest += block
                cut = _last_cut(rest)
                if cut:
                    yield rest[:cut]
                    rest = rest[cut:]
            if rest:
                yield rest
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is not UTF-8 text",
            path=path,
            why=f"byte {error.object[error.start]:#04x}: {error.reason}",
            advice="Convert it, for example with `iconv -f latin1 -t utf-8`.",
        ) from error
    except OSError as error:
        raise DataError(f"{path} can't be read", path=path, why=error.strerror or str(error)) from error


def _last_cut(text: str) -> int:
    """The last place where a line begins with a printing character; 0 if there is none."""
    end = len(text) - 1
    while (newline := text.rfind("\n", 0, end)) >= 0:
        if not text[newline + 1].isspace():
            return newline + 1
        end = newline
    return 0


def _open_dataset(path: Path, column: str) -> Iterator[str]:
    if importlib.util.find_spec("datasets") is None:
        raise DatasetsMissingError(
            f"{path} is a dataset that can't be read",
            path=path,
            why="the library `datasets` is not installed",
            advice="`pip install datasets`, or save the text as files.",
        )
    datasets: Any = importlib.import_module("datasets")
    try:
        loaded: Any = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise DataError(
            f"{path} is no saved dataset",
            path=path,
            why=str(error).splitlines()[0],
            advice="Give the folder that `save_to_disk` wrote.",
        ) from error
    if isinstance(loaded, datasets.DatasetDict):
        raise DataError(
            f"{path} holds several datasets",
            path=path,
            why=f"there are {', '.join(map(str, loaded))}",
            advice=f"Give one of them, for example {path / str(next(iter(loaded)))}.",
        )
    if column not in loaded.column_names:
        raise DataError(
            f"the dataset {path.name} has no column {column!r}",
            path=path,
            why=f"it has {', '.join(loaded.column_names)}",
            advice="Name the column that holds the text (--text-column).",
        )
    for row in loaded:
        if not isinstance(row[column], str):
            raise DataError(
                f"the column {column!r} of {path.name} holds {type(row[column]).__name__}, not text",
                path=path,
            )
        yield row[column]
