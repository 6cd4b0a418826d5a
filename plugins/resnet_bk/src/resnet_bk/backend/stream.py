"""One request: the prompt is evaluated, and then tokens are drawn until something ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from modelplug.backends.model import CancelToken, Chunk, GenerateParams
from modelplug.backends.requests import RequestClock
from modelplug.backends.streaming import REPEAT_WINDOW, ChunkBuilder, room_for_output
from resnet_bk.backend.context import RecurrentContext, WholeContext
from resnet_bk.backend.errors import not_finite, translated
from resnet_bk.backend.sampling import Sampler
from resnet_bk.backend.text import TextStream, decode

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Stream"]


class Stream:
    """One request.

    Args:
        tokenizer: The tokenizer.
        context: A text without a token so far.
        step_lock: Held while the engine computes.
        context_size: Tokens that prompt and output may have together.
        ends: The tokens that end a text.
        prompt: The tokens to continue; they fit into the context.
        params: How to generate.
        cancel: Ends the request.
        warnings: For the statistics.
    """

    def __init__(
        self,
        *,
        tokenizer: tokenizers.Tokenizer,
        context: RecurrentContext | WholeContext,
        step_lock: threading.Lock,
        context_size: int,
        ends: frozenset[int],
        prompt: Sequence[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
    ) -> None:
        self._tokenizer = tokenizer
        self._context = context
        self._step_lock = step_lock
        self._ends = ends
        self._tokens = list(prompt)
        self._params = params
        self._cancel = cancel
        self._warnings = warnings
        self._room = room_for_output(len(prompt), context_size, params)
        self._builder = ChunkBuilder(params)
        self._text = TextStream(tokenizer, prompt)
        self._sampler = Sampler(params)
        self._known = 0
        self.prompt_tokens = len(prompt)

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return self._builder.completion_tokens

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks; closing the iterator ends the request."""
        clock = RequestClock()
        with translated("first-token", "the model failed on the prompt"):
            logits = self._evaluate_prompt()
        clock.prompt_done()
        reason = "cancelled" if logits is None else ""
        while logits is not None and not reason:
            with translated("generate", "the model failed while generating"):
                reason, chunk = self._next(logits)
            if self.completion_tokens:
                clock.token_drawn()
            if chunk is not None:
                yield chunk
            if not reason:
                with translated("generate", "the model failed while generating"):
                    logits = self._evaluate(self._tokens[-1:])
        stats = clock.stats(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self._known,
            warnings=self._warnings,
        )
        yield self._builder.finish(reason, stats)

    def _evaluate(self, tokens: Sequence[int]) -> torch.Tensor:
        with self._step_lock:
            return self._context.evaluate(tokens)

    def _evaluate_prompt(self) -> torch.Tensor | None:
        """The logits of the first token to generate; None if cancelled meanwhile."""
        logits = None
        self._known = self._context.begin(self._tokens)
        for block in self._context.blocks(self._tokens[self._known :]):
            if self._cancel.cancelled:
                return None
            logits = self._evaluate(block)
        return logits

    def _next(self, logits: torch.Tensor) -> tuple[str, Chunk | None]:
        """Draw one token; the reason to end is empty while there is none."""
        if self._cancel.cancelled:
            return "cancelled", None
        if not bool(torch.isfinite(logits).all()):
            raise not_finite()
        plain = logits.log_softmax(0) if self._params.logprobs else None
        token = self._sampler.draw(logits, self._tokens[-REPEAT_WINDOW:])
        if token in self._ends:
            return "stop", None
        named = None if plain is None else self._named(token, plain)
        chunk = self._builder.add(self._text.feed(token), token=token, logprobs=named)
        self._tokens.append(token)
        if self._builder.stopped:
            return "stop", None
        return ("length" if self.completion_tokens >= self._room else ""), chunk

    def _named(self, token: int, logprobs: torch.Tensor) -> dict[str, float]:
        """The chosen token and the most probable ones, as text after what stands before."""
        before = self._tokens[-4:]
        shared = len(decode(self._tokenizer, before))
        best = logprobs.topk(min(self._params.logprobs, len(logprobs))).indices.tolist()
        named: dict[str, float] = {}
        for candidate in (token, *best):
            text = decode(self._tokenizer, [*before, candidate])[shared:]
            named.setdefault(text, float(logprobs[candidate]))
        return named
