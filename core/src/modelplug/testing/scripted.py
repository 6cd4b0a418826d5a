"""A model that says what a test wants, for testing programs that embed modelplug without any engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from modelplug.backends.loaded import LoadedModel
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
from modelplug.backends.streaming import ChunkBuilder, fit_prompt, room_for_output
from modelplug.backends.types import LoadResult
from modelplug.formats.model_info import ModelInfo

__all__ = ["ScriptedModel", "ScriptedRequest"]

NAME = "scripted"
START = 0
PARAMETERS = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop")

Reply = str | Exception


@attrs.frozen(kw_only=True)
class ScriptedRequest:
    """A request that a scripted model has received.

    Attributes:
        prompt: The prompt as text; of a conversation, the last message.
        messages: The messages of a conversation; empty for `generate`.
        params: The parameters.
    """

    prompt: str
    messages: tuple[Message, ...]
    params: GenerateParams


class ScriptedModel(LoadedModel):
    """A loaded model whose every answer is known beforehand.

    It streams one character per token and behaves like any engine otherwise: stop strings, `max_tokens`, the
    size of the context, cancelling, closing and errors are those of real models. Sampling parameters are
    accepted and change nothing, since there is nothing to choose from.

    Args:
        replies: What it says: always the same text, or one text after the other and then from the beginning,
            or a function of the prompt. An exception among the replies is raised after the request was made.
        chat: Whether it can chat.
        context_size: Tokens that prompt and reply may have together.
        delay: Seconds before each token, for tests of progress, cancelling and deadlines.

    Attributes:
        received: The requests so far, in order.
    """

    def __init__(
        self,
        replies: Reply | Sequence[Reply] | Callable[[str], Reply] = "Hello!",
        *,
        chat: bool = True,
        context_size: int = 4096,
        delay: float = 0.0,
    ) -> None:
        self._script = _Script(_chooser(replies), chat, context_size, delay)
        super().__init__(self._script)
        self.load_result = LoadResult(success=True, backend=NAME, effective=self.effective, model=self)

    @property
    def received(self) -> tuple[ScriptedRequest, ...]:
        """The requests so far, in order."""
        return tuple(self._script.received)


def _chooser(replies: Reply | Sequence[Reply] | Callable[[str], Reply]) -> Callable[[str, int], Reply]:
    if isinstance(replies, (str, Exception)):
        only: Reply = replies
        return lambda _prompt, _number: only
    if callable(replies):
        function = replies
        return lambda prompt, _number: function(prompt)
    series = tuple(replies)
    if not series:
        raise ValueError("replies must not be empty")
    return lambda _prompt, number: series[number % len(series)]


class _Script(Model):
    """The engine of a scripted model: characters are tokens, their code points plus one are the ids."""

    def __init__(
        self, choose: Callable[[str, int], Reply], chat: bool, context_size: int, delay: float
    ) -> None:
        self.info = ModelInfo(path=Path(NAME), format=NAME, name=NAME, context_length=context_size)
        self.capabilities = Capabilities(chat=chat, token_ids=True, parameters=frozenset(PARAMETERS))
        self.effective = Effective(backend=NAME, engine_version="1", context_size=context_size)
        self.received: list[ScriptedRequest] = []
        self._choose = choose
        self._delay = delay
        self._lock = threading.Lock()
        self._tally = ModelStats()
        self._closed = threading.Event()

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the next reply."""
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        return self._reply(tokens, (), params or GenerateParams(), cancel or CancelToken())

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the next reply."""
        turns = tuple(messages)
        tokens = self.tokenize("\n".join(message.content for message in turns))
        return self._reply(tokens, turns, params or GenerateParams(), cancel or CancelToken())

    def _reply(
        self, tokens: list[int], turns: tuple[Message, ...], params: GenerateParams, cancel: CancelToken
    ) -> Iterator[Chunk]:
        size = self.effective.context_size
        starts = 1 if tokens[:1] == [START] else 0
        tokens, warnings = fit_prompt(tokens, size, params, NAME, start_tokens=starts)
        prompt = turns[-1].content if turns else self.detokenize(tokens)
        with self._lock:
            number = len(self.received)
            self.received.append(ScriptedRequest(prompt=prompt, messages=turns, params=params))
        reply = self._choose(prompt, number)
        if isinstance(reply, Exception):
            raise reply
        began = time.perf_counter()
        builder = ChunkBuilder(params)
        reason = "stop"
        room = room_for_output(len(tokens), size, params)
        for position, character in enumerate(reply):
            if position == room:
                reason = "length"
                break
            if self._stopped(cancel):
                reason = "cancelled"
                break
            chunk = builder.add(character, token=ord(character) + 1)
            if builder.stopped:
                break
            if chunk is not None:
                yield chunk
        yield self._last(builder, reason, len(tokens), time.perf_counter() - began, warnings)

    def _stopped(self, cancel: CancelToken) -> bool:
        if self._delay and not cancel.cancelled:
            self._closed.wait(self._delay)
        return cancel.cancelled or self._closed.is_set()

    def _last(
        self,
        builder: ChunkBuilder,
        reason: str,
        prompt_tokens: int,
        seconds: float,
        warnings: tuple[str, ...],
    ) -> Chunk:
        count = builder.completion_tokens
        with self._lock:
            before = self._tally
            self._tally = ModelStats(
                requests=before.requests + 1,
                prompt_tokens=before.prompt_tokens + prompt_tokens,
                completion_tokens=before.completion_tokens + count,
            )
        stats = GenerationStats(
            prompt_tokens=prompt_tokens, completion_tokens=count, generate_seconds=seconds, warnings=warnings
        )
        return builder.finish(reason, stats)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """One token per character."""
        tokens = [ord(character) + 1 for character in text]
        return [START, *tokens] if add_special else tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The characters of the tokens."""
        return "".join(chr(token - 1) for token in tokens if token != START)

    @property
    def stats(self) -> ModelStats:
        """What it has done so far."""
        with self._lock:
            return self._tally

    def close(self) -> None:
        """End requests under way as cancelled."""
        self._closed.set()
