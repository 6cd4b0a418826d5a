"""A small SentencePiece vocabulary with byte fallback, trained on the play text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import attrs
import sentencepiece

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BOS", "EOS", "UNKNOWN", "Tokenizer", "Vocabulary", "train_tokenizer"]

UNKNOWN, BOS, EOS = 0, 1, 2

# Token types as GGUF numbers them.
NORMAL_TYPE, UNKNOWN_TYPE, CONTROL_TYPE, BYTE_TYPE = 1, 2, 3, 6


@attrs.frozen(kw_only=True)
class Vocabulary:
    """What a model file stores of a tokenizer.

    Attributes:
        tokens: The pieces, by token id.
        scores: Merge priority of each piece: the higher, the earlier it is merged.
        types: Kind of each piece, as GGUF numbers them.
    """

    tokens: list[str]
    scores: list[float]
    types: list[int]


@attrs.frozen
class Tokenizer:
    """Text to token ids, the way llama.cpp does it for a `llama` vocabulary."""

    processor: sentencepiece.SentencePieceProcessor

    def encode(self, text: str) -> list[int]:
        """The token ids of `text` with a space put before it, without the begin token."""
        return list(self.processor.encode(" " + text)) if text else []

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, with the leading space that encoding adds."""
        return str(self.processor.decode(ids))

    def vocabulary(self) -> Vocabulary:
        """The pieces with their scores and types."""
        processor = self.processor
        ids = range(processor.get_piece_size())
        return Vocabulary(
            tokens=[processor.id_to_piece(index) for index in ids],
            scores=[processor.get_score(index) for index in ids],
            types=[self._type(index) for index in ids],
        )

    def _type(self, index: int) -> int:
        if self.processor.is_unknown(index):
            return UNKNOWN_TYPE
        if self.processor.is_control(index):
            return CONTROL_TYPE
        return BYTE_TYPE if self.processor.is_byte(index) else NORMAL_TYPE


def train_tokenizer(text: str, *, size: int, extra_lines: list[str]) -> Tokenizer:
    """Train a byte-pair vocabulary of `size` pieces.

    Args:
        text: What to learn the pieces from.
        size: Number of pieces, control and byte pieces included.
        extra_lines: Lines that are added to the text, such as the speaker names of the chat template.

    Returns:
        The tokenizer.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(text, extra_lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        # Verse begins most words of a line directly after a line break. Learning without a leading space
        # gives those words pieces of their own; `Tokenizer.encode` adds the space that engines add.
        add_dummy_prefix=False,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return Tokenizer(processor)


def _lines(text: str, extra_lines: list[str]) -> Iterator[str]:
    yield from (line for line in text.split("\n") if line)
    yield from extra_lines
