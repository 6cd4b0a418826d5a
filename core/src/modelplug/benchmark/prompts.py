"""Cuts prompts of an exact number of tokens, each with a beginning of its own."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.model import Model

__all__ = ["PromptCutter"]

_WORDS = (
    "the of and to in that it was for on as with his they be at one have this from had by hot but some what "
    "there we can out other were all your when up use word how said an each she which do their time if will "
    "way about many then them would write like so these her long make thing see him two has look more day "
    "could go come did my sound no most number who over know water than call first people may down side been "
    "now find any new work part take get place made live where after back little only round man year came "
    "show every good me give our under name very through just form much great think say help low line before"
)
POOL_TOKENS = 2048
_REMEMBERED = 8


class PromptCutter:
    """Gives prompts of one workload for one model.

    Engines keep what they have computed of earlier prompts. So each prompt begins with another token than
    those shortly before it, and nothing of it is in a cache.

    Args:
        model: Its tokenizer counts.
        text: What to cut from; empty takes everyday words in a random, but always the same, order.
        seed: For the order.
    """

    def __init__(self, model: Model, text: str = "", *, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311  an order of words, not a secret
        self._text = text or " ".join(self._random.choices(_WORDS.split(), k=POOL_TOKENS))
        self._pool: Sequence[int] = ()
        if model.capabilities.tokenize:
            self._pool = model.tokenize(self._text, add_special=False)
        self._beginnings: deque[int] = deque(maxlen=_REMEMBERED)

    def cut(self, tokens: int) -> str | list[int]:
        """A prompt of this many tokens; as text, of that many words, where the engine has no tokenizer."""
        if not self._pool:
            words = self._text.split()
            start = self._random.randrange(len(words))
            return " ".join(words[(start + place) % len(words)] for place in range(tokens))
        start = self._start()
        self._beginnings.append(self._pool[start])
        return [self._pool[(start + place) % len(self._pool)] for place in range(tokens)]

    def _start(self) -> int:
        starts = [self._random.randrange(len(self._pool)) for _ in range(_REMEMBERED * 4)]
        fresh = (start for start in starts if self._pool[start] not in self._beginnings)
        # A text of one word has one beginning only; then the engine says how much of it was in its cache.
        return next(fresh, starts[0])
