"""Text from tokens, as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

__all__ = ["TextStream", "decode"]

# Enough neighbours to decide how a token reads.
_BEFORE = 6
# A character has four bytes at most: what is broken after so many tokens stays broken.
_PATIENCE = 8
_BROKEN = "\ufffd"


def decode(tokenizer: tokenizers.Tokenizer, tokens: Sequence[int]) -> str:
    """The text of tokens; special ones are left out."""
    return tokenizer.decode(list(tokens), skip_special_tokens=True)


class TextStream:
    """The text that each further token adds, in whole characters.

    Args:
        tokenizer: The tokenizer.
        prompt: The tokens before.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = list(prompt[-_BEFORE:])
        self._waiting = 0
        self._told = decode(tokenizer, self._tokens)

    def feed(self, token: int) -> str:
        """What `token` completes; empty in the middle of a character."""
        self._tokens.append(token)
        text = decode(self._tokenizer, self._tokens)
        self._waiting += 1
        if text.endswith(_BROKEN) and self._waiting < _PATIENCE:
            return ""
        added = text[len(self._told) :]
        del self._tokens[:-_BEFORE]
        self._told = decode(self._tokenizer, self._tokens)
        self._waiting = 0
        return added
