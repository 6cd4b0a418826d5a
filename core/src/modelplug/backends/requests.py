"""What every request needs besides its text: tokens that exist, timings, and a place in the model's tally.

An engine plugin that draws tokens itself reports in this way what others would measure for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.model import GenerationStats
from modelplug.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.model import ModelStats

__all__ = ["RequestClock", "check_tokens", "with_request"]


class RequestClock:
    """Times one request, from the moment it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._prompt_done: float | None = None
        self._first_token: float | None = None

    def prompt_done(self) -> None:
        """Note that the prompt has been evaluated, or that the request was cancelled meanwhile."""
        self._prompt_done = time.perf_counter()

    def token_drawn(self) -> None:
        """Note that a token is there; only the first one changes anything."""
        if self._first_token is None:
            self._first_token = time.perf_counter()

    def stats(
        self,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        warnings: tuple[str, ...] = (),
    ) -> GenerationStats:
        """Give the statistics of the request, which ends now.

        Args:
            prompt_tokens: Tokens of the prompt.
            completion_tokens: Tokens generated.
            cached_tokens: How many of the prompt's did not have to be evaluated.
            warnings: What the user should know about the result.
        """
        now = time.perf_counter()
        prompt_done = now if self._prompt_done is None else self._prompt_done
        first = self._first_token
        return GenerationStats(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            prompt_seconds=prompt_done - self._started,
            generate_seconds=now - prompt_done,
            first_token_seconds=None if first is None else first - self._started,
            total_seconds=now - self._started,
            cached_tokens=cached_tokens,
            warnings=warnings,
        )


def with_request(tally: ModelStats, *, prompt_tokens: int, completion_tokens: int) -> ModelStats:
    """Give a model's tally with one more request in it."""
    return attrs.evolve(
        tally,
        requests=tally.requests + 1,
        prompt_tokens=tally.prompt_tokens + prompt_tokens,
        completion_tokens=tally.completion_tokens + completion_tokens,
    )


def check_tokens(tokens: Sequence[int], vocabulary_size: int | None, backend: str, phase: str) -> None:
    """Refuse token ids that the model does not have: engines crash on them, or make something up.

    Args:
        tokens: What the user gave.
        vocabulary_size: How many tokens there are; None where that is unknown.
        backend: The engine, for the error.
        phase: What was asked of it, for the error: `tokenize` or `generate`.

    Raises:
        BackendError: There is no such token.
    """
    for token in tokens:
        if not _is_id(token) or (vocabulary_size is not None and token >= vocabulary_size):
            raise BackendError(
                f"there is no token {token!r}",
                backend=backend,
                phase=phase,
                cause="unknown-token",
                why=(
                    "token ids are whole numbers from 0"
                    if vocabulary_size is None
                    else f"the vocabulary has the tokens 0 to {vocabulary_size - 1}"
                ),
                advice="Give text, or token ids that `tokenize` of the same model returned.",
            )


def _is_id(value: object) -> bool:
    # True is an int in Python, but nobody means token 1 by it.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
