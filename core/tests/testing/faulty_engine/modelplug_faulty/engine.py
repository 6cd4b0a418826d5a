"""The engine: bytes are tokens, and every fault it can have."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import faulty_engine_library

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
from modelplug.errors import BackendError
from modelplug_faulty.sampling import FIRST_BYTE, Sampler
from modelplug_faulty.settings import FaultySettings

__all__ = ["FaultyModel", "probe"]

START = 0
# Slow enough for a request to be cancelled before it is through.
SECONDS_PER_TOKEN = 0.0005
PARAMETERS = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop")


def probe() -> dict[str, Any]:
    """Nothing more is known than detection says."""
    return {"version": faulty_engine_library.VERSION}


class FaultyModel(Model):
    """A model that may break one clause.

    Args:
        request: What to load; the setting `fault` names the clause.
    """

    def __init__(self, request: LoadRequest) -> None:
        self._fault = request.settings_as(FaultySettings).fault
        self.info = request.info
        self._size = request.context_size
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._tally = ModelStats()
        self._closed = False
        self._helper: subprocess.Popen[bytes] | None = None
        self.capabilities = Capabilities(
            embeddings=request.embeddings,
            logprobs=True,
            token_ids=True,
            parameters=frozenset(PARAMETERS if self._fault != "default_not_honoured" else PARAMETERS[:3]),
        )
        self.effective = Effective(
            backend="someone" if self._fault == "wrong_backend_name" else request.backend,
            engine_version=faulty_engine_library.VERSION,
            context_size=self._size + (64 if self._fault == "context_is_smaller" else 0),
        )
        if self._fault == "leaks_process":
            sleep = [sys.executable, "-c", "import time; time.sleep(120)"]
            null = subprocess.DEVNULL
            self._helper = subprocess.Popen(
                sleep, start_new_session=True, stdin=null, stdout=null, stderr=null, env={}
            )
        if self._fault == "leaks_temporary_file":
            tempfile.mkstemp(prefix="faulty-")

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation."""
        params = params or GenerateParams()
        warnings = check_demands(params, self.capabilities, "faulty")
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else self._checked(prompt)
        if self._fault == "adds_start_to_tokens" and not isinstance(prompt, str):
            tokens = [START, *tokens]
        if self._fault == "truncates_in_silence":
            params = attrs.evolve(params, overflow="truncate")
        size = self._size + (8 if self._fault == "context_overruns" else 0)
        tokens, more = fit_prompt(tokens, size, params, "faulty", start_tokens=int(tokens[:1] == [START]))
        if self._fault == "truncates_without_warning":
            more = ()
        return self._stream(tokens, params, cancel or CancelToken(), warnings + more, size)

    def _stream(
        self,
        tokens: list[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
        size: int,
    ) -> Iterator[Chunk]:
        with self._turn:
            room = room_for_output(len(tokens), size, params)
            if self._fault == "one_token_too_many" and params.max_tokens is not None:
                room += 1
            chunks = self._pieces(tokens, params, cancel, warnings, room)
            if self._fault == "no_stream":
                everything = list(chunks)
                text = "".join(chunk.text for chunk in everything)
                ids = tuple(token for chunk in everything for token in chunk.tokens)
                logprobs = tuple(entry for chunk in everything for entry in chunk.logprobs)
                yield attrs.evolve(everything[-1], text=text, tokens=ids, logprobs=logprobs)
                return
            for chunk in chunks:
                if self._fault == "empty_chunks":
                    yield Chunk("")
                yield chunk
                if self._fault == "two_ends" and chunk.finish_reason is not None:
                    yield attrs.evolve(chunk, text="")

    def _pieces(
        self,
        tokens: list[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
        room: int,
    ) -> Iterator[Chunk]:
        stops = () if self._fault in ("ignores_stop", "stops_at_tokens_only") else params.stop
        builder, decoder = ChunkBuilder(attrs.evolve(params, stop=stops)), Utf8Decoder()
        sampler = Sampler(params, self._fault)
        history, reason, began = list(tokens), "length", time.perf_counter()
        for _ in range(room):
            if self._closed or (cancel.cancelled and self._fault != "swallows_cancel"):
                reason = "cancelled"
                break
            time.sleep(SECONDS_PER_TOKEN)
            token, logprobs = sampler.choose(history)
            history.append(token)
            text = decoder.feed(bytes([token - FIRST_BYTE]))
            if self._fault == "stops_at_tokens_only" and text in params.stop:
                reason = "stop"
                break
            entry = self._likeliest(logprobs, params.logprobs) if params.logprobs else None
            chunk = builder.add(text, token=token, logprobs=entry)
            if builder.stopped:
                break
            if chunk is not None:
                yield chunk
        yield builder.finish(reason, self._counted(len(tokens), builder.completion_tokens, began, warnings))

    def _likeliest(self, logprobs: dict[int, float], count: int) -> dict[str, float]:
        ranked = sorted(logprobs, key=lambda token: (-logprobs[token], token))[:count]
        sign = -1 if self._fault == "logprobs_are_positive" else 1
        return {chr(token - FIRST_BYTE): sign * logprobs[token] for token in ranked}

    def _counted(
        self, prompt_tokens: int, completion_tokens: int, began: float, warnings: tuple[str, ...]
    ) -> GenerationStats:
        if self._fault == "miscounts_prompt":
            prompt_tokens -= 1
        if self._fault == "miscounts_output":
            completion_tokens += 1
        with self._lock:
            before = self._tally
            self._tally = ModelStats(
                requests=before.requests + (self._fault != "forgets_requests"),
                prompt_tokens=before.prompt_tokens + prompt_tokens,
                completion_tokens=before.completion_tokens + completion_tokens,
            )
        return GenerationStats(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            generate_seconds=time.perf_counter() - began,
            warnings=warnings,
        )

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the next turn."""
        turns = list(messages)[-1:] if self._fault == "forgets_conversation" else messages
        prompt = "".join(f"{message.role}: {message.content}\n" for message in turns)
        return self.generate(f"{prompt}assistant:", params, cancel=cancel)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The bytes."""
        if self._fault == "strips_text":
            text = text.strip()
        tokens = [byte + FIRST_BYTE for byte in text.encode()]
        return [START, *tokens] if add_special else tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of bytes."""
        return bytes(token - FIRST_BYTE for token in self._checked(tokens) if token >= FIRST_BYTE).decode(
            "utf-8", "replace"
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """How often each of some letters occurs."""
        vectors = [[text.count(letter) / (len(text) + 1) for letter in "etaoinshr "] for text in texts]
        if self._fault == "mixes_up_vectors":
            vectors.sort()
        return vectors

    @property
    def stats(self) -> ModelStats:
        """What it has done so far."""
        with self._lock:
            return self._tally

    def close(self) -> None:
        """End requests under way."""
        self._closed = True

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        for token in tokens:
            if not 0 <= token < FIRST_BYTE + 256:
                if self._fault == "crashes_on_unknown_token":
                    import os

                    os.abort()
                raise BackendError(
                    f"there is no token {token}", backend="faulty", phase="tokenize", cause="unsupported"
                )
        return list(tokens)
