"""One request: the prompt is evaluated, and then tokens are drawn until something ends it."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from modelplug.backends.model import CancelToken, Chunk, GenerateParams
from modelplug.backends.requests import RequestClock
from modelplug.backends.streaming import REPEAT_WINDOW, ChunkBuilder, Utf8Decoder, room_for_output

if TYPE_CHECKING:
    import random as random_module
    from collections.abc import Iterator, Sequence

    from modelplug_ctransformers.engine import Engine
    from modelplug_ctransformers.turns import Turns

__all__ = ["Stream"]


class Stream:
    """One request to an engine.

    Args:
        engine: The engine.
        turns: Who may use it now.
        context_size: Tokens that prompt and output may have together.
        prompt: The tokens to continue; they fit into the context.
        params: How to generate.
        cancel: Ends the request.
        warnings: For the statistics.
        random: Gives a seed for each token.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        turns: Turns,
        context_size: int,
        prompt: Sequence[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
        random: random_module.Random,
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._tokens = list(prompt)
        self._params = params
        self._cancel = cancel
        self._warnings = warnings
        self._random = random
        self._room = room_for_output(len(prompt), context_size, params)
        self._builder = ChunkBuilder(params)
        self._decoder = Utf8Decoder()
        self._cached = 0
        self.prompt_tokens = len(prompt)

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return self._builder.completion_tokens

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks; closing the iterator ends the request."""
        clock = RequestClock()
        try:
            with self._turns.step(self):
                self._engine.check_open("generate")
                self._cached = self._engine.reuse(self._tokens)
                ready = self._evaluate(self._tokens[self._cached :])
            clock.prompt_done()
            reason = "cancelled" if not ready else ""
            while not reason:
                reason, chunk = self._next_token()
                if self.completion_tokens:
                    clock.token_drawn()
                if chunk is not None:
                    yield chunk
            stats = clock.stats(
                prompt_tokens=self.prompt_tokens,
                completion_tokens=self.completion_tokens,
                cached_tokens=self._cached,
                warnings=self._warnings,
            )
            yield self._builder.finish(reason, stats)
        finally:
            self._turns.finish(self)

    def _catch_up(self) -> bool:
        """Evaluate what the context lacks of this request's tokens; False if cancelled meanwhile."""
        if self._engine.tokens == self._tokens:
            return True
        # The token drawn last, or more if another request has used the context meanwhile.
        return self._evaluate(self._tokens[self._engine.resume(self._tokens) :])

    def _evaluate(self, tokens: Sequence[int]) -> bool:
        for part in self._engine.slices(tokens):
            if self._cancel.cancelled:
                return False
            self._engine.evaluate(part)
        return True

    def _next_token(self) -> tuple[str, Chunk | None]:
        """Draw one token; the reason to end is empty while there is none."""
        if self._cancel.cancelled:
            return "cancelled", None
        with self._turns.step(self):
            self._engine.check_open("generate")
            if not self._catch_up():
                return "cancelled", None
            logprobs = self._engine.log_probabilities() if self._params.logprobs else None
            token = self._sample()
            if self._engine.is_end(token):
                return "stop", None
            text = self._decoder.feed(self._engine.piece(token))
            named = self._name_logprobs(token, logprobs) if logprobs is not None else None
        chunk = self._builder.add(text, token=token, logprobs=named)
        self._tokens.append(token)
        if self._builder.stopped:
            return "stop", None
        if self.completion_tokens >= self._room:
            return "length", chunk
        return "", chunk

    def _sample(self) -> int:
        params = self._params
        return self._engine.sample(
            self._tokens[-REPEAT_WINDOW:],
            top_k=params.top_k or self._engine.vocabulary_size,
            top_p=params.top_p,
            temperature=params.temperature,
            repeat_penalty=params.repeat_penalty,
            # The engine starts its generator anew for every token, so each needs a seed of its own.
            seed=self._random.getrandbits(31),
        )

    def _name_logprobs(self, token: int, logprobs: list[float]) -> dict[str, float]:
        """Give the chosen token and the most probable ones, as text; pieces of characters become U+FFFD."""
        best = heapq.nlargest(self._params.logprobs, range(len(logprobs)), key=logprobs.__getitem__)
        named: dict[str, float] = {}
        for candidate in (token, *best):
            text = self._engine.piece(candidate).decode("utf-8", errors="replace")
            named.setdefault(text, logprobs[candidate])
        return named
