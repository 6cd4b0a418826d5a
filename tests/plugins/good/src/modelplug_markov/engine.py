"""The engine: one loaded chain, and requests to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import modelplug_markov
from modelplug.backends.model import (
    CancelToken,
    Capabilities,
    Chunk,
    Effective,
    GenerateParams,
    GenerationStats,
    Message,
    Model,
    ModelStats,
)
from modelplug.backends.streaming import ChunkBuilder, Utf8Decoder, check_demands, fit_prompt, room_for_output
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, CapabilityError
from modelplug_markov.file import read
from modelplug_markov.sampling import Sampler
from modelplug_markov.settings import MarkovSettings
from modelplug_markov.tokenizer import END, START

__all__ = ["MarkovModel"]

NAME = modelplug_markov.NAME
PARAMETERS = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop")


class MarkovModel(Model):
    """A chain that talks.

    Args:
        request: The file and how to run it.
    """

    def __init__(self, request: LoadRequest) -> None:
        settings = request.settings_as(MarkovSettings)
        _, self._tokenizer, chain = read(request.path)
        notes = []
        order = chain.order if settings.order is None else min(settings.order, chain.order)
        if settings.order is not None and settings.order > chain.order:
            notes.append(
                f"The order is {chain.order} and not {settings.order}: the model has no longer contexts."
            )
        self._chain = chain.shortened(order)
        self._context_size = request.context_size
        self._lock = threading.Lock()
        self._closed = False
        self._stats = ModelStats()
        self.info = request.info
        self.capabilities = Capabilities(chat=False, token_ids=True, parameters=frozenset(PARAMETERS))
        self.effective = Effective(
            backend=NAME,
            engine_version=modelplug_markov.__version__,
            device="cpu",
            gpu_layers=0,
            context_size=request.context_size,
            threads=1,
            notes=tuple(notes),
        )

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`; what can't be honoured is refused before the first chunk."""
        self._check_open("generate")
        params = params or GenerateParams()
        warnings = check_demands(params, self.capabilities, NAME)
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else self._checked(prompt)
        start_tokens = 1 if tokens[:1] == [START] else 0
        tokens, cut = fit_prompt(tokens, self._context_size, params, NAME, start_tokens=start_tokens)
        return self._stream(tokens, params, cancel or CancelToken(), (*warnings, *cut))

    def _stream(
        self, tokens: list[int], params: GenerateParams, cancel: CancelToken, warnings: tuple[str, ...]
    ) -> Iterator[Chunk]:
        started = time.perf_counter()
        first: float | None = None
        builder, decoder, sampler = ChunkBuilder(params), Utf8Decoder(), Sampler(params)
        history = list(tokens)
        reason = "length"
        for _ in range(room_for_output(len(tokens), self._context_size, params)):
            if cancel.cancelled or self._closed:
                reason = "cancelled"
                break
            context = history[-self._chain.order :] if self._chain.order else []
            token = sampler.choose(self._chain.probabilities(context), history)
            first = first or time.perf_counter()
            if token in (START, END):
                reason = "stop"
                break
            history.append(token)
            chunk = builder.add(decoder.feed(self._tokenizer.token_bytes(token)), token=token)
            if builder.stopped:
                break
            if chunk is not None:
                yield chunk
        ended = time.perf_counter()
        first = first or ended
        self._count(len(tokens), builder.completion_tokens)
        yield builder.finish(
            reason,
            GenerationStats(
                prompt_tokens=len(tokens),
                completion_tokens=builder.completion_tokens,
                prompt_seconds=first - started,
                generate_seconds=ended - first,
                first_token_seconds=first - started,
                total_seconds=ended - started,
                warnings=warnings,
            ),
        )

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Refuse: a chain has no chat template."""
        raise CapabilityError(
            "Markov models can't chat",
            capability="chat",
            backend=NAME,
            phase="generate",
            why="they have no chat template",
            advice="Use `modelplug run` with a prompt.",
        )

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The tokens of `text`, with the start token in front if `add_special`."""
        self._check_open("tokenize")
        tokens = self._tokenizer.encode(text)
        return [START, *tokens] if add_special else tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        self._check_open("tokenize")
        return self._tokenizer.decode(self._checked(tokens))

    @property
    def stats(self) -> ModelStats:
        """What it has done so far."""
        with self._lock:
            return self._stats

    def close(self) -> None:
        """Let go of the chain; requests under way end as cancelled."""
        self._closed = True

    def _count(self, prompt_tokens: int, completion_tokens: int) -> None:
        with self._lock:
            before = self._stats
            self._stats = ModelStats(
                requests=before.requests + 1,
                prompt_tokens=before.prompt_tokens + prompt_tokens,
                completion_tokens=before.completion_tokens + completion_tokens,
            )

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        size = self._tokenizer.vocabulary_size
        for token in tokens:
            if not 0 <= token < size:
                raise BackendError(
                    f"there is no token {token}",
                    backend=NAME,
                    phase="tokenize",
                    cause="unsupported",
                    why=f"the vocabulary has the tokens 0 to {size - 1}",
                    advice="Get token ids from `tokenize` of the same model.",
                )
        return list(tokens)

    def _check_open(self, phase: str) -> None:
        if self._closed:
            raise BackendError(
                "the model is closed",
                backend=NAME,
                phase=phase,
                cause="closed",
                why="close was called, or the `with` block has ended",
                advice="Load the model again.",
            )
