"""The three ways in which llamafile's servers are spoken to, each with its own requests and events.

`modern` is llama.cpp's server of today (llamafile 0.10 and later), `v1` its ancestor of early 2024 with
llamafile's changes (`--server` up to 0.9), `v2` llamafile's own second server (`--server --v2`). Which one
answers is found out by asking, not from a version number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.model import Capabilities, GenerateParams, Message
from modelplug.backends.streaming import REPEAT_WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dialect", "Event", "ModernDialect", "V1Dialect", "V2Dialect"]

_SAMPLING = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop", "max_tokens"}
)


@attrs.frozen(kw_only=True)
class Event:
    """One event of a stream, whatever the dialect.

    Attributes:
        text: New text.
        tokens: Ids of the new tokens, where the server tells them.
        logprobs: Alternatives of each new token.
        count: Tokens generated so far, where the server tells.
        finish: Why generation ended, in the last event: `stop` or `length`.
        prompt_tokens: Tokens of the prompt, in the last event.
        prompt_seconds: Time spent on the prompt, in the last event.
        generate_seconds: Time spent generating, in the last event.
        cached: Prompt tokens that were in the cache.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[dict[str, float], ...] = ()
    count: int | None = None
    finish: str | None = None
    prompt_tokens: int | None = None
    prompt_seconds: float | None = None
    generate_seconds: float | None = None
    cached: int = 0


class Dialect(ABC):
    """How one kind of server is spoken to.

    Attributes:
        name: `modern`, `v1` or `v2`.
        completion: Path of the endpoint that continues a prompt.
        token_prompts: Whether a prompt may be token ids.
        templates: Whether the server formats a conversation without answering it.
    """

    name: str
    completion = "/completion"
    token_prompts = True
    templates = False

    @abstractmethod
    def capabilities(self, *, chat: bool, embeddings: bool) -> Capabilities:
        """What a server of this kind can do."""

    def asked(self, params: GenerateParams) -> GenerateParams:
        """The parameters without those whose values this server has in force anyway."""
        return params

    @abstractmethod
    def body(self, prompt: str | Sequence[int], params: GenerateParams, limit: int) -> dict[str, Any]:
        """The request that continues `prompt` by at most `limit` tokens.

        Stop strings are left out: the client looks for them, so that they mean the same everywhere.
        """

    @abstractmethod
    def event(self, data: dict[str, Any]) -> Event:
        """What an event says."""

    def chat_body(self, messages: Sequence[Message], params: GenerateParams, limit: int) -> dict[str, Any]:
        """The request for `/v1/chat/completions`."""
        body = self.body("", params, limit)
        del body["prompt"]
        body["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        body["model"] = "llamafile"
        body["max_tokens"] = limit
        return body

    def tokenize_body(self, text: str, *, add_special: bool) -> dict[str, Any]:
        """The request for `/tokenize`; special tokens written out in the text are recognised."""
        return {"content": text, "add_special": add_special, "parse_special": True}

    def embedding_body(self, text: str) -> tuple[str, dict[str, Any]]:
        """Path and request for the embedding of one text."""
        return "/embedding", {"content": text}


def _llama_body(prompt: str | Sequence[int], params: GenerateParams, limit: int) -> dict[str, Any]:
    """What both servers of llama.cpp's family understand: every sampler that exists is named."""
    greedy = params.temperature == 0
    body: dict[str, Any] = {
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "n_predict": limit,
        "stream": True,
        # A cached prompt is evaluated in other pieces, which may round differently: a seed rules that out.
        "cache_prompt": params.seed is None,
        "temperature": params.temperature,
        "top_k": 1 if greedy else params.top_k,
        "top_p": 1.0 if greedy else params.top_p,
        "min_p": 0.0 if greedy else params.min_p,
        "typical_p": 1.0,
        "tfs_z": 1.0,
        "mirostat": 0,
        "repeat_penalty": params.repeat_penalty,
        "repeat_last_n": REPEAT_WINDOW,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "penalize_nl": True,
    }
    if params.seed is not None:
        body["seed"] = params.seed
    if params.grammar is not None:
        body["grammar"] = params.grammar
    return body


def _timing(data: dict[str, Any], name: str) -> float | None:
    value = (data.get("timings") or {}).get(name)
    return value / 1000 if isinstance(value, (int, float)) else None


class ModernDialect(Dialect):
    """llama.cpp's server of today."""

    name = "modern"
    templates = True

    def capabilities(self, *, chat: bool, embeddings: bool) -> Capabilities:
        """Everything."""
        return Capabilities(
            chat=chat,
            embeddings=embeddings,
            grammar=True,
            logprobs=True,
            token_ids=True,
            parameters=_SAMPLING,
        )

    def body(self, prompt: str | Sequence[int], params: GenerateParams, limit: int) -> dict[str, Any]:
        """The request for `/completion`, with the samplers in the order of the contract."""
        body = _llama_body(prompt, params, limit)
        body["samplers"] = ["penalties", "top_k", "top_p", "min_p", "temperature"]
        body["return_tokens"] = params.return_tokens
        if params.logprobs:
            body["n_probs"] = params.logprobs
        return body

    def event(self, data: dict[str, Any]) -> Event:
        """One event of `/completion`."""
        probabilities = data.get("completion_probabilities") or ()
        ended = bool(data.get("stop"))
        timings = data.get("timings") or {}
        return Event(
            text=data.get("content") or "",
            tokens=() if ended else tuple(data.get("tokens") or ()),
            logprobs=tuple(
                {item["token"]: item["logprob"] for item in entry.get("top_logprobs", ())}
                for entry in probabilities
            )
            if not ended
            else (),
            count=data.get("tokens_predicted"),
            finish=("length" if data.get("stop_type") == "limit" else "stop") if ended else None,
            prompt_tokens=data.get("tokens_evaluated") if ended else None,
            prompt_seconds=_timing(data, "prompt_ms"),
            generate_seconds=_timing(data, "predicted_ms"),
            cached=int(timings.get("cache_n") or 0),
        )


class V1Dialect(Dialect):
    """The server of llamafile up to 0.9: no token ids, no log probabilities before sampling."""

    name = "v1"

    def capabilities(self, *, chat: bool, embeddings: bool) -> Capabilities:
        """What it has; its probabilities are those after sampling, which is something else."""
        return Capabilities(chat=chat, embeddings=embeddings, grammar=True, parameters=_SAMPLING)

    def body(self, prompt: str | Sequence[int], params: GenerateParams, limit: int) -> dict[str, Any]:
        """The request for `/completion`; its samplers come in the contract's order by themselves."""
        return _llama_body(prompt, params, limit)

    def event(self, data: dict[str, Any]) -> Event:
        """One event of `/completion` or, for a conversation, of `/v1/chat/completions`."""
        if "choices" in data:
            return _openai_event(data)
        ended = bool(data.get("stop"))
        limited = bool(data.get("stopped_limit")) or data.get("stop_type") == "limit"
        return Event(
            text=data.get("content") or "",
            count=data.get("tokens_predicted") if ended else None,
            finish=("length" if limited else "stop") if ended else None,
            prompt_tokens=data.get("tokens_evaluated") if ended else None,
            prompt_seconds=_timing(data, "prompt_ms"),
            generate_seconds=_timing(data, "predicted_ms"),
        )


class V2Dialect(Dialect):
    """llamafile's second server: OpenAI's endpoints, prompts as text only, few sampling parameters."""

    name = "v2"
    completion = "/v1/completions"
    token_prompts = False

    def capabilities(self, *, chat: bool, embeddings: bool) -> Capabilities:
        """Its `/tokenize` gives pieces of text, not ids, so that is not the contract's `tokenize`."""
        return Capabilities(
            chat=chat,
            tokenize=False,
            embeddings=embeddings,
            parameters=frozenset({"temperature", "top_p", "seed", "stop", "max_tokens"}),
        )

    def asked(self, params: GenerateParams) -> GenerateParams:
        """It always keeps the 40 most probable tokens, which is the default, too."""
        return attrs.evolve(params, top_k=0) if params.top_k == 40 else params

    def body(self, prompt: str | Sequence[int], params: GenerateParams, limit: int) -> dict[str, Any]:
        """The request for `/v1/completions`."""
        greedy = params.temperature == 0
        body: dict[str, Any] = {
            "model": "llamafile",
            "prompt": prompt,
            "max_tokens": limit,
            "stream": True,
            "temperature": params.temperature,
            "top_p": 1.0 if greedy else params.top_p,
        }
        if params.seed is not None:
            body["seed"] = params.seed
        return body

    def event(self, data: dict[str, Any]) -> Event:
        """One event of either endpoint."""
        return _openai_event(data)

    def tokenize_body(self, text: str, *, add_special: bool) -> dict[str, Any]:
        """The request for `/tokenize`, which calls the text by another name."""
        return {"prompt": text, "add_special": add_special, "parse_special": True}


def _openai_event(data: dict[str, Any]) -> Event:
    choices = data.get("choices") or [{}]
    choice = choices[0]
    delta = choice.get("delta") or {}
    usage = data.get("usage") or {}
    reason = choice.get("finish_reason")
    return Event(
        text=choice.get("text") or delta.get("content") or "",
        count=usage.get("completion_tokens"),
        finish=None if reason is None else ("length" if reason == "length" else "stop"),
        prompt_tokens=usage.get("prompt_tokens"),
    )
