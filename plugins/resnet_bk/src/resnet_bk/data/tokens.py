"""Streams of tokens: in memory, or in a file that is mapped into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy
from numpy.typing import NDArray

from modelplug.atomic import write_atomically
from resnet_bk.data.errors import DataError, VocabularyError
from resnet_bk.data.texts import Document
from resnet_bk.data.tokenizers import Tokenizer

__all__ = ["TokenStream", "tokenize", "tokenize_to_file"]

_BATCH: Final = 64


@attrs.frozen(eq=False)
class TokenStream:
    """The tokens of documents, one after the other.

    Attributes:
        tokens: The tokens, a one-dimensional array of whole numbers.
        starts: Where documents begin, in ascending order; the first one begins at 0.
    """

    tokens: NDArray[Any]
    starts: NDArray[numpy.int64]

    @classmethod
    def from_array(cls, tokens: Any, starts: Sequence[int] = (0,)) -> TokenStream:
        """A stream of tokens that are there already.

        Args:
            tokens: An array or a list of whole numbers.
            starts: Where documents begin.

        Raises:
            DataError: They are not whole numbers, are negative, or are no single row.
        """
        array = numpy.asarray(tokens)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise DataError(
                f"tokens are whole numbers in one row, not {array.dtype} in {array.ndim} dimensions",
                advice="Give the ids a tokenizer makes of a text.",
            )
        if array.size and array.dtype.kind == "i" and int(array.min()) < 0:
            raise DataError(f"there is a negative token, {int(array.min())}", advice="Token ids begin at 0.")
        return cls(array, numpy.asarray(starts, dtype=numpy.int64))

    def __len__(self) -> int:
        return len(self.tokens)

    def split(self, fraction: float) -> tuple[TokenStream, TokenStream]:
        """The beginning and the end of the stream, which have no token in common.

        Args:
            fraction: How much of it the second part gets, from 0 to 1.
        """
        cut = len(self) - int(len(self) * fraction)
        later = self.starts[self.starts > cut] - cut
        return (
            TokenStream(self.tokens[:cut], self.starts[self.starts < cut]),
            TokenStream(self.tokens[cut:], numpy.concatenate([numpy.zeros(1, numpy.int64), later])),
        )

    def check_vocabulary(self, vocabulary: int) -> None:
        """Refuse tokens that a model does not know.

        Args:
            vocabulary: How many tokens it knows.

        Raises:
            VocabularyError: There is one that is not less.
        """
        largest = int(self.tokens.max()) if len(self) else 0
        if largest >= vocabulary:
            raise VocabularyError(
                f"the data hold the token {largest}, and the model knows {vocabulary}",
                token=largest,
                vocabulary=vocabulary,
                why="the model was made for another tokenizer",
                advice=f"Make the model with vocab_size={largest + 1} or more, or use its own tokenizer.",
            )

    def fingerprint(self) -> str:
        """SHA-256 over the tokens and where documents begin, whatever type they are kept in."""
        digest = hashlib.sha256(self.starts.astype("<i8").tobytes())
        for start in range(0, len(self), 1 << 20):
            digest.update(self.tokens[start : start + (1 << 20)].astype("<u4").tobytes())
        return digest.hexdigest()


def tokenize(documents: Iterable[Document], tokenizer: Tokenizer) -> TokenStream:
    """The tokens of documents, each with the end-of-text token after it, in memory.

    Args:
        documents: The documents.
        tokenizer: What turns text into tokens.

    Raises:
        DataError: There is no text in them.
    """
    parts, starts = [], []
    length = 0
    for begins, tokens in _token_blocks(documents, tokenizer):
        if begins:
            starts.append(length)
        parts.append(numpy.asarray(tokens, dtype=_type_for(tokenizer)))
        length += len(tokens)
    _demand_text(length)
    return TokenStream(numpy.concatenate(parts), numpy.asarray(starts, dtype=numpy.int64))


def tokenize_to_file(
    documents: Iterable[Document], tokenizer: Tokenizer, path: Path, *, source: str
) -> TokenStream:
    """The same in a file, which is used again when source and tokenizer are the same.

    Args:
        documents: The documents; not read if the file is there already.
        tokenizer: What turns text into tokens.
        path: The file of tokens; two more stand beside it, with `.starts` and `.json` after its name.
        source: A fingerprint of documents and tokenizer.

    Raises:
        DataError: There is no text in the documents.
        OSError: The file can't be written.
    """
    kind = _type_for(tokenizer)
    description = path.with_name(f"{path.name}.json")
    # It is written last and removed first: where it is, the two files beside it are whole and belong to it.
    if not _describes(description, source):
        description.unlink(missing_ok=True)
        _write(documents, tokenizer, path)
        write_atomically(description, json.dumps({"source": source}))
    starts = numpy.fromfile(_starts_of(path), dtype=numpy.int64)
    return TokenStream(numpy.memmap(path, dtype=kind, mode="r"), starts)


def _starts_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.starts")


def _write(documents: Iterable[Document], tokenizer: Tokenizer, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    starts, length = [], 0
    with path.open("wb") as stream:
        for begins, tokens in _token_blocks(documents, tokenizer):
            if begins:
                starts.append(length)
            stream.write(numpy.asarray(tokens, dtype=_type_for(tokenizer)).tobytes())
            length += len(tokens)
        stream.flush()
        os.fsync(stream.fileno())
    _demand_text(length)
    write_atomically(_starts_of(path), numpy.asarray(starts, dtype=numpy.int64).tobytes())


def _describes(path: Path, source: str) -> bool:
    try:
        return bool(json.loads(path.read_text("utf-8"))["source"] == source)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _token_blocks(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[bool, list[int]]]:
    """Blocks of tokens, each with whether a document begins with it; documents without text are left out."""
    for begins, ends, tokens in _encoded(documents, tokenizer):
        if ends and tokenizer.end_of_text is not None:
            tokens.append(tokenizer.end_of_text)
        yield begins, tokens


def _encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[bool, bool, list[int]]]:
    # Texts are encoded many at a time, which tokenizers spread over the processors.
    waiting: list[tuple[bool, bool, str]] = []
    for document in documents:
        begins, previous = True, ""
        for piece in document:
            if previous:
                waiting.append((begins, False, previous))
                begins = False
            previous = piece
            if len(waiting) >= _BATCH:
                yield from _encode(waiting, tokenizer)
                waiting = []
        if previous:
            waiting.append((begins, True, previous))
    yield from _encode(waiting, tokenizer)


def _encode(
    waiting: list[tuple[bool, bool, str]], tokenizer: Tokenizer
) -> Iterator[tuple[bool, bool, list[int]]]:
    encoded = tokenizer.encode([text for _, _, text in waiting])
    for (begins, ends, _), tokens in zip(waiting, encoded, strict=True):
        yield begins, ends, tokens


def _type_for(tokenizer: Tokenizer) -> numpy.dtype[Any]:
    return numpy.dtype("<u2" if tokenizer.vocabulary <= 1 << 16 else "<u4")


def _demand_text(length: int) -> None:
    if not length:
        raise DataError("there is no text in the data", advice="Name files that are not empty.")
