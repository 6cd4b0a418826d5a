"""One request: the prompt is evaluated, and then tokens are drawn until something ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.backends.model import CancelToken, Chunk, GenerateParams
from modelplug.backends.requests import RequestClock
from modelplug.backends.streaming import REPEAT_WINDOW, ChunkBuilder, room_for_output
from modelplug_transformers.limits import not_finite
from modelplug_transformers.loading import translated_errors
from modelplug_transformers.sampling import Sampler
from modelplug_transformers.text import TextStream, decode

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from modelplug_transformers.context import Context

__all__ = ["Stream"]


class Stream:
    """One request to an engine.

    Args:
        torch: The module.
        tokenizer: A transformers tokenizer.
        context: The state to work on, which no other request uses now.
        step_lock: Held while the engine computes.
        context_size: Tokens that prompt and output may have together.
        end_tokens: The tokens that end a text.
        prompt: The tokens to continue; they fit into the context.
        params: How to generate.
        cancel: Ends the request.
        warnings: For the statistics.
    """

    def __init__(
        self,
        *,
        torch: Any,
        tokenizer: Any,
        context: Context,
        step_lock: threading.Lock,
        context_size: int,
        end_tokens: frozenset[int],
        prompt: Sequence[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
    ) -> None:
        self._torch = torch
        self._tokenizer = tokenizer
        self._context = context
        self._step_lock = step_lock
        self._end_tokens = end_tokens
        self._tokens = list(prompt)
        self._params = params
        self._cancel = cancel
        self._warnings = warnings
        self._room = room_for_output(len(prompt), context_size, params)
        self._builder = ChunkBuilder(params)
        self._text = TextStream(tokenizer, prompt)
        self._sampler = Sampler(torch, params)
        self._cached = 0
        self.prompt_tokens = len(prompt)

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return self._builder.completion_tokens

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks; closing the iterator ends the request."""
        clock = RequestClock()
        with translated_errors("first-token", "transformers failed on the prompt"):
            logits = self._evaluate_prompt()
        clock.prompt_done()
        reason = "cancelled" if logits is None else ""
        while not reason:
            with translated_errors("generate", "transformers failed while generating"):
                reason, chunk = self._next_token(logits)
            if self.completion_tokens:
                clock.token_drawn()
            if chunk is not None:
                yield chunk
            if not reason:
                with translated_errors("generate", "transformers failed while generating"):
                    logits = self._evaluate(self._tokens[-1:])
        stats = clock.stats(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self._cached,
            warnings=self._warnings,
        )
        yield self._builder.finish(reason, stats)

    def _evaluate(self, tokens: Sequence[int]) -> Any:
        with self._step_lock:
            return self._context.evaluate(tokens)

    def _evaluate_prompt(self) -> Any:
        """Give the logits of the first token to generate; None if cancelled meanwhile."""
        logits = None
        self._cached = self._context.reuse(self._tokens)
        for block in self._context.blocks(self._tokens[self._cached :]):
            if self._cancel.cancelled:
                return None
            logits = self._evaluate(block)
        return logits

    def _next_token(self, logits: Any) -> tuple[str, Chunk | None]:
        """Draw one token; the reason to end is empty while there is none."""
        if self._cancel.cancelled:
            return "cancelled", None
        if not bool(self._torch.isfinite(logits.max())):
            raise not_finite()
        raw = self._torch.log_softmax(logits, dim=0) if self._params.logprobs else None
        token = self._sampler.choose(logits, self._tokens[-REPEAT_WINDOW:])
        if token in self._end_tokens:
            return "stop", None
        named = self._name_logprobs(token, raw) if raw is not None else None
        chunk = self._builder.add(self._text.feed(token), token=token, logprobs=named)
        self._tokens.append(token)
        if self._builder.stopped:
            return "stop", None
        if self.completion_tokens >= self._room:
            return "length", chunk
        return "", chunk

    def _name_logprobs(self, token: int, logprobs: Any) -> dict[str, float]:
        """Give the chosen token and the most probable ones, as text; pieces of characters become U+FFFD."""
        count = min(self._params.logprobs, logprobs.numel())
        best = [int(candidate) for candidate in self._torch.topk(logprobs, count).indices]
        named: dict[str, float] = {}
        before = self._tokens[-4:]
        shared = len(decode(self._tokenizer, before))
        for candidate in (token, *best):
            # Decoded after its neighbours, because a tokenizer drops the space of a text's first token.
            text = decode(self._tokenizer, [*before, candidate])[shared:]
            named.setdefault(text, float(logprobs[candidate]))
        return named
