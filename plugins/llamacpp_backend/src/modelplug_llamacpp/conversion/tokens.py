"""The vocabulary in the terms of GGUF."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["ADDED_SCORE", "CONTROL", "NORMAL", "UNUSED", "USER_DEFINED", "Token", "Tokens"]

NORMAL: Final = 1
CONTROL: Final = 3
USER_DEFINED: Final = 4
UNUSED: Final = 5
ADDED_SCORE: Final = -1000.0
"""Lower than any of a vocabulary's own, so that an added token is never made by joining pieces."""


@attrs.frozen
class Token:
    """One token.

    Attributes:
        text: Its text, as the tokenizer's model spells it.
        type: As GGUF numbers them.
        score: The higher, the earlier it is joined; without meaning where there are merges.
    """

    text: str
    type: int = NORMAL
    score: float = 0.0


@attrs.frozen(kw_only=True)
class Tokens:
    """A vocabulary, and how a text is split into it.

    Attributes:
        model: `llama` (SentencePiece) or `gpt2` (pairs of bytes).
        pre: llama.cpp's name for how a text is split into words first.
        entries: The tokens by id.
        merges: The pairs that are joined, first ones first; only with `gpt2`.
        space_prefix: Whether a space is put before a text.
        special: `start`, `end`, `unknown`, `padding` -> token id, as far as the tokenizer's model says.
    """

    model: str
    pre: str
    entries: tuple[Token, ...]
    merges: tuple[str, ...] = ()
    space_prefix: bool = False
    special: dict[str, int] = attrs.field(factory=dict)
