"""Text from tokens, one at a time, whatever the tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextStream", "decode"]

_CONTEXT = 6
# A character has at most four bytes, so after this many tokens what is still broken stays broken.
_PATIENCE = 8
_BROKEN = "\ufffd"


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Give the text of tokens, special ones left out, exactly as they spell it."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


class TextStream:
    """Decodes a growing sequence of tokens to the text that each one adds.

    The text of a token depends on its neighbours: a tokenizer may drop the space at the front, and a
    character may need several tokens. So a window over the end of the sequence is decoded with and without
    the new token, and the difference is what it adds.

    Args:
        tokenizer: A transformers tokenizer.
        tokens: The prompt.
    """

    def __init__(self, tokenizer: Any, tokens: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(tokens[-_CONTEXT:])
        self._pending = 0
        self._before = decode(tokenizer, self._window)

    def feed(self, token: int) -> str:
        """Give the whole characters that `token` completes."""
        self._window.append(token)
        self._pending += 1
        text = decode(self._tokenizer, self._window)
        if text.endswith(_BROKEN) and self._pending < _PATIENCE:
            return ""
        added = text[len(self._before) :]
        self._slide()
        return added

    def _slide(self) -> None:
        """Forget all but the end, which still decides how the next token reads."""
        self._pending = 0
        if len(self._window) > 4 * _CONTEXT:
            del self._window[:-_CONTEXT]
        self._before = decode(self._tokenizer, self._window)
