"""What a request for text looks like to llama.cpp's server, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from modelplug.backends.model import Chunk, GenerateParams, GenerationStats
from modelplug.backends.streaming import OVERFLOW_ADVICE, REPEAT_WINDOW, StopFilter
from modelplug.errors import BackendError, ContextOverflowError
from modelplug_llamacpp.direct import full_event
from modelplug_llamacpp.http import ServerRefusedError

__all__ = ["Completion", "completion_body", "logprobs_of", "refusal"]

NAME = "llamacpp"
_REASONS = {"eos": "stop", "word": "stop", "limit": "length"}


def completion_body(prompt: str | list[int], params: GenerateParams) -> dict[str, Any]:
    """The request for `/completion`: every sampler is named, so that none acts by default."""
    body: dict[str, Any] = {
        "prompt": prompt,
        "n_predict": -1 if params.max_tokens is None else params.max_tokens,
        "stream": True,
        "cache_prompt": True,
        "return_tokens": params.return_tokens,
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
        "temperature": params.temperature,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": params.min_p,
        "repeat_penalty": params.repeat_penalty,
        "repeat_last_n": REPEAT_WINDOW,
        # Stop strings are looked for here: the server swallows what only begins like one at the very end.
        "timings_per_token": bool(params.stop),
    }
    if params.seed is not None:
        body["seed"] = params.seed
    if params.grammar is not None:
        body["grammar"] = params.grammar
    if params.logprobs:
        body["n_probs"] = params.logprobs
    return body


def logprobs_of(event: dict[str, Any]) -> tuple[dict[str, float], ...]:
    """The alternatives of each token of an event, text to log probability."""
    return tuple(
        {candidate["token"]: candidate["logprob"] for candidate in token["top_logprobs"]}
        for token in event.get("completion_probabilities", ())
    )


class Completion:
    """Makes chunks of the server's events.

    Args:
        params: The request's parameters.
        warnings: For the statistics.
        tokenize: Gives the ids of a text, without special tokens.
    """

    def __init__(
        self, params: GenerateParams, warnings: tuple[str, ...], tokenize: Callable[[str], list[int]]
    ) -> None:
        self._params = params
        self._tokenize = tokenize
        self._warnings = warnings
        self._filter = StopFilter(params.stop)
        self._began = time.perf_counter()
        self._first: float | None = None
        self._tokens: list[int] = []
        self._logprobs: list[dict[str, float]] = []
        self._event: dict[str, Any] = {"tokens_predicted": 0, "tokens_evaluated": 0}

    def take(self, event: dict[str, Any]) -> Chunk | None:
        """Take an event; gives the chunk it makes, which is the last one if it has a finish reason."""
        self._first = self._first or time.perf_counter() - self._began
        before, self._event = self._event, event
        text, stopped = self._filter.feed(event["content"])
        if self._params.return_tokens:
            self._tokens.extend(self._ids(event, event["tokens_predicted"] - before["tokens_predicted"]))
        if self._params.logprobs:
            self._logprobs.extend(logprobs_of(event))
        if stopped:
            return self._last(text, "stop")
        if event["stop"]:
            return self._last(text + self._filter.flush(), _REASONS[event["stop_type"]])
        # Half a character, or what may become a stop string: tokens wait for their text.
        return self._chunk(text, None, None) if text else None

    def _ids(self, event: dict[str, Any], new: int) -> list[int]:
        """The ids of the new tokens; the server leaves out those that end within a character."""
        ids = [int(token) for token in event.get("tokens", ())]
        if not ids or len(ids) >= new:
            return ids
        known = self._tokenize(event["content"])[-new:]
        if len(known) == new and known[-len(ids) :] == ids:
            return known
        warning = "The ids of some tokens within a character are missing: the engine did not tell them."
        if warning not in self._warnings:
            self._warnings += (warning,)
        return ids

    def cancelled(self) -> Chunk:
        """The last chunk of a request that was cancelled."""
        return self._last(self._filter.flush(), "cancelled")

    def _last(self, text: str, reason: str) -> Chunk:
        event = full_event(self._event["raw"]) if "raw" in self._event else self._event
        timings = event.get("timings") or {}
        stats = GenerationStats(
            prompt_tokens=event["tokens_evaluated"],
            completion_tokens=event["tokens_predicted"],
            prompt_seconds=timings["prompt_ms"] / 1000 if "prompt_ms" in timings else None,
            generate_seconds=timings["predicted_ms"] / 1000 if "predicted_ms" in timings else None,
            first_token_seconds=self._first,
            total_seconds=time.perf_counter() - self._began,
            cached_tokens=timings.get("cache_n", 0),
            warnings=self._warnings,
        )
        return self._chunk(text, reason, stats)

    def _chunk(self, text: str, reason: str | None, stats: GenerationStats | None) -> Chunk:
        chunk = Chunk(text, tuple(self._tokens), reason, stats, tuple(self._logprobs))
        self._tokens.clear()
        self._logprobs.clear()
        return chunk


def refusal(error: ServerRefusedError, context_size: int, *, phase: str = "generate") -> BackendError:
    """The server's error as one of modelplug's own."""
    details = error.details
    if details.get("type") == "exceed_context_size_error":
        count = int(details.get("n_prompt_tokens", 0))
        return ContextOverflowError(
            f"the prompt has {count} tokens, but the context holds {context_size}",
            prompt_tokens=count,
            context_size=context_size,
            backend=NAME,
            why="prompt and output share the context, and the output needs at least one token",
            advice=OVERFLOW_ADVICE,
        )
    invalid = details.get("type") == "invalid_request_error"
    return BackendError(
        "llama.cpp refused the request" if invalid else "llama.cpp failed while generating",
        backend=NAME,
        phase=phase,
        cause="unsupported" if invalid else "exception",
        why=str(error),
        advice="Check the parameters, the grammar above all."
        if invalid
        else "Try again, or another backend.",
    )
