"""What a request for text looks like to llama.cpp's server, and what its answers mean."""

from __future__ import annotations

from typing import Any

from modelplug.backends.model import Chunk, GenerateParams, GenerationStats
from modelplug.backends.streaming import REPEAT_WINDOW
from modelplug.errors import BackendError, ContextOverflowError
from modelplug_llamacpp.http import ServerRefusedError

__all__ = ["completion_body", "last_chunk", "logprobs_of", "refusal"]

NAME = "llamacpp"
_REASONS = {"eos": "stop", "word": "stop", "limit": "length", "cancelled": "cancelled"}


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
        "stop": list(params.stop),
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


def last_chunk(
    event: dict[str, Any],
    params: GenerateParams,
    warnings: tuple[str, ...],
    first_token_seconds: float | None,
    total_seconds: float,
) -> Chunk:
    """The last chunk of a request, from the server's last event."""
    timings = event.get("timings") or {}
    stats = GenerationStats(
        prompt_tokens=event["tokens_evaluated"],
        completion_tokens=event["tokens_predicted"],
        prompt_seconds=timings["prompt_ms"] / 1000 if "prompt_ms" in timings else None,
        generate_seconds=timings["predicted_ms"] / 1000 if "predicted_ms" in timings else None,
        first_token_seconds=first_token_seconds,
        total_seconds=total_seconds,
        cached_tokens=timings.get("cache_n", 0),
        warnings=warnings,
    )
    tokens = tuple(event.get("tokens", ())) if params.return_tokens else ()
    return Chunk(event.get("content", ""), tokens, _REASONS[event["stop_type"]], stats)


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
            advice=(
                f"Shorten the prompt, load the model with context_size above {count}, "
                "or pass overflow='truncate' to drop the beginning of the prompt."
            ),
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
