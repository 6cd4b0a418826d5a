"""What a loaded model can do: the one interface that every engine implements and every caller uses."""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import attrs

from modelplug.formats.model_info import ModelInfo

__all__ = [
    "CancelToken",
    "Capabilities",
    "Chunk",
    "Effective",
    "GenerateParams",
    "GenerationStats",
    "Message",
    "Model",
    "ModelStats",
]

NEUTRAL_VALUES: dict[str, object] = {
    "temperature": None,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "seed": None,
    "stop": (),
    "grammar": None,
    "logprobs": 0,
}
"""The value of each parameter that asks nothing of an engine; None where there is none."""

LARGEST_SEED = 2**32 - 1
"""What engines keep of a seed has at least 32 bits."""

_ROOT_RULE = re.compile(r"^[ \t]*root\s*::=", re.MULTILINE)
_EMPTY_ROOT_RULE = re.compile(
    # After the sign come only blanks and comments, up to the next rule or the end.
    r"^[ \t]*root\s*::=(?:\s|#[^\n]*)*(?:\Z|^[ \t]*[\w-]+\s*::=)",
    re.MULTILINE,
)


def _between(low: float, high: float) -> Callable[[Any, Any, Any], None]:
    def check(_instance: object, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            msg = f"{attribute.name} must be a number from {low:g} to {high:g}, not {value!r}"
            raise ValueError(msg)

    return check


def _whole(low: int, high: int | None = None, *, optional: bool = False) -> Callable[[Any, Any, Any], None]:
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"

    def check(_instance: object, attribute: Any, value: Any) -> None:
        if optional and value is None:
            return
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            msg = f"{attribute.name} must be a whole number {allowed}, not {value!r}"
            raise ValueError(msg)

    return check


def _one_of(*allowed: str) -> Callable[[Any, Any, Any], None]:
    def check(_instance: object, attribute: Any, value: Any) -> None:
        if value not in allowed:
            names = f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
            msg = f"{attribute.name} must be {names}, not {value!r}"
            raise ValueError(msg)

    return check


def _text(_instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, str):
        msg = f"{attribute.name} must be text, not {value!r}"
        raise ValueError(msg)


def _stop_strings(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class GenerateParams:
    """How to generate, with one meaning on every engine.

    Candidates pass through, in this order: the repeat penalty over the last 64 tokens of prompt and output,
    `top_k`, `top_p`, `min_p`, and then `temperature`. Every engine is meant to honour every default; one that
    can't refuses the request like any other parameter, with the value to pass instead.

    Attributes:
        max_tokens: Tokens to generate at most; None generates until the model ends or the context is full.
        temperature: 0 is greedy decoding; 1 leaves the probabilities as they are.
        top_k: Keep the k most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of tokens with this total probability; 1 keeps all.
        min_p: Keep tokens at least this fraction as probable as the most probable one; 0 keeps all.
        repeat_penalty: Divides (or multiplies, if negative) the logits of recent tokens; 1 is none.
        seed: From 0 to 2**32 - 1, which every engine takes whole. Same seed, same engine, same settings: same
            text. None draws a fresh one.
        stop: Generation ends before the first of these strings; the string is not part of the output.
        overflow: What to do with a prompt longer than the context: `error`, or `truncate` to drop its
            beginning and record a warning.
        unsupported: What to do with a parameter the engine can't honour: `error`, or `warn` to record a
            warning in the statistics and go on without it.
        grammar: A GBNF grammar the output must follow; its rule `root` is where it begins.
        logprobs: Number of alternatives to report for each token; 0 reports none.
        return_tokens: Whether chunks carry token ids (costs a little on some engines).
    """

    max_tokens: int | None = attrs.field(default=256, validator=_whole(1, optional=True))
    temperature: float = attrs.field(default=0.8, validator=_between(0.0, 100.0))
    top_k: int = attrs.field(default=40, validator=_whole(0))
    top_p: float = attrs.field(default=0.95, validator=_between(0.0, 1.0))
    min_p: float = attrs.field(default=0.0, validator=_between(0.0, 1.0))
    repeat_penalty: float = attrs.field(default=1.0, validator=_between(0.01, 10.0))
    seed: int | None = attrs.field(default=None, validator=_whole(0, LARGEST_SEED, optional=True))
    stop: tuple[str, ...] = attrs.field(default=(), converter=_stop_strings)
    overflow: str = attrs.field(default="error", validator=_one_of("error", "truncate"))
    unsupported: str = attrs.field(default="error", validator=_one_of("error", "warn"))
    grammar: str | None = attrs.field(default=None)
    logprobs: int = attrs.field(default=0, validator=_whole(0))
    return_tokens: bool = False

    @stop.validator
    def _no_empty_stop(self, _attribute: object, value: tuple[str, ...]) -> None:
        if not all(value) or not all(isinstance(item, str) for item in value):
            msg = f"stop must be non-empty strings, not {value!r}"
            raise ValueError(msg)

    @grammar.validator
    def _has_a_root(self, _attribute: object, value: object) -> None:
        # Engines take a grammar that says nothing, and answer with nothing.
        if value is None:
            return
        if not isinstance(value, str) or not value.strip():
            msg = f"grammar must be a GBNF grammar, not {value!r}"
            raise ValueError(msg)
        if not _ROOT_RULE.search(value):
            msg = "grammar must have a rule root: a line that begins with 'root ::='"
            raise ValueError(msg)
        if _EMPTY_ROOT_RULE.search(value):
            msg = "grammar must allow some text: there is nothing after 'root ::='"
            raise ValueError(msg)

    def demands(self) -> dict[str, object]:
        """The parameters whose values ask something particular of an engine, by name."""
        greedy = self.temperature == 0
        asked = {
            name: getattr(self, name)
            for name, neutral in NEUTRAL_VALUES.items()
            if getattr(self, name) != neutral
        }
        if greedy:
            # The most probable token survives every filter, and no random number is drawn.
            for name in ("top_k", "top_p", "min_p", "seed"):
                asked.pop(name, None)
        return asked


@attrs.frozen(kw_only=True)
class GenerationStats:
    """What one request took, as measured by whoever ran the engine.

    Attributes:
        prompt_tokens: Tokens in the prompt, as the engine's own tokenizer counts them.
        completion_tokens: Tokens generated.
        prompt_seconds: Time spent on the prompt; None if the engine can't tell it apart.
        generate_seconds: Time spent generating after the prompt; None likewise.
        first_token_seconds: From the request to the first token, as seen by the caller.
        total_seconds: From the request to the last chunk, as seen by the caller.
        cached_tokens: Prompt tokens that were already in the engine's cache.
        warnings: What was asked for and could not be honoured, in full sentences.
    """

    prompt_tokens: int
    completion_tokens: int
    prompt_seconds: float | None = None
    generate_seconds: float | None = None
    first_token_seconds: float | None = None
    total_seconds: float | None = None
    cached_tokens: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens per second after the prompt; None if it can't be told."""
        seconds = self.generate_seconds or self.total_seconds
        return self.completion_tokens / seconds if seconds and self.completion_tokens else None


@attrs.frozen
class Chunk:
    """A piece of output, in the order of generation.

    Attributes:
        text: The text; may be empty in the last chunk. Always whole characters.
        tokens: Token ids, where `GenerateParams.return_tokens` asked for them and the engine tells them.
        finish_reason: None until the last chunk, then `stop` (the model ended, or a stop string),
            `length` (`max_tokens` or the context) or `cancelled`.
        stats: Only in the last chunk.
        logprobs: One mapping of candidate text to log probability per token, if asked for.
    """

    text: str
    tokens: tuple[int, ...] = ()
    finish_reason: str | None = None
    stats: GenerationStats | None = None
    logprobs: tuple[dict[str, float], ...] = ()


@attrs.frozen
class Message:
    """One turn of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: The text.
    """

    role: str = attrs.field(validator=_one_of("system", "user", "assistant"))
    content: str = attrs.field(validator=_text)


@attrs.frozen(kw_only=True)
class Capabilities:
    """What an engine can do with this model. What is not declared is refused, never faked.

    Attributes:
        chat: Applies the model's own chat template.
        tokenize: Has `tokenize` and `detokenize`.
        embeddings: Has `embed`.
        grammar: Honours `GenerateParams.grammar`.
        logprobs: Honours `GenerateParams.logprobs`.
        token_ids: Chunks can carry token ids.
        cancel: A request can be stopped between two tokens.
        parallel_requests: Requests it works on at the same time; further ones wait their turn.
        parameters: The names of `GenerateParams` it honours.
    """

    chat: bool = True
    tokenize: bool = True
    embeddings: bool = False
    grammar: bool = False
    logprobs: bool = False
    token_ids: bool = False
    cancel: bool = True
    parallel_requests: int = 1
    parameters: frozenset[str] = frozenset(
        {"temperature", "top_k", "top_p", "repeat_penalty", "seed", "stop", "max_tokens"}
    )


@attrs.frozen(kw_only=True)
class Effective:
    """What is really in force after loading, as opposed to what was asked for.

    Attributes:
        backend: The backend's name.
        engine_version: The engine's own version.
        device: `cpu` or a `Device.id` such as `cuda:0`; the device that holds the layers.
        gpu_layers: Layers really on that device; None if the engine does not say.
        context_size: Tokens the context really holds.
        threads: CPU threads really used; None if the engine does not say.
        batch_size: Prompt tokens evaluated at once; None if the engine does not say.
        notes: Differences from what was asked for, in full sentences.
    """

    backend: str
    engine_version: str = ""
    device: str = "cpu"
    gpu_layers: int | None = 0
    context_size: int = 0
    threads: int | None = None
    batch_size: int | None = None
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ModelStats:
    """What a loaded model has used and done so far.

    Attributes:
        resident_bytes: Main memory of the process that runs the engine; None if it is this process.
        device_bytes: Memory it holds on the device; None if unknown or on the CPU.
        requests: Requests finished.
        prompt_tokens: Prompt tokens processed.
        completion_tokens: Tokens generated.
    """

    resident_bytes: int | None = None
    device_bytes: int | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class CancelToken:
    """A flag that stops one request; safe to set from any thread or signal handler."""

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = threading.Event()
        # Re-entrant, because a signal handler may cancel while this thread is inside `on_cancel`.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ask the request to stop; calling it again changes nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once on cancellation, at once if that has already happened."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()


class Model(ABC):
    """A loaded model.

    An engine plugin implements this class; `modelplug.load` returns another implementation of it that talks
    to the plugin's in a worker process. Methods may be called from several threads. It is a context manager;
    leaving the block closes it.

    Attributes:
        info: What inspection found.
        capabilities: What this engine can do with this model.
        effective: The settings really in force.
    """

    info: ModelInfo
    capabilities: Capabilities
    effective: Effective

    @abstractmethod
    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`.

        Args:
            prompt: Text (the tokenizer's own start token is added where the model wants one), or token ids
                taken as they are.
            params: How to generate; None takes the defaults.
            cancel: Stops the request when set; the last chunk then says `cancelled`.

        Yields:
            Chunks; the last one has a `finish_reason` and `stats`. Closing the iterator early stops the
            engine.

        Raises:
            ContextOverflowError: The prompt does not fit and `params.overflow` is `error`.
            UnsupportedParameterError: A parameter can't be honoured and `params.unsupported` is `error`.
            BackendError: The engine failed.
        """

    @abstractmethod
    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn, formatted by the model's own chat template.

        Takes and yields what `generate` does; raises `CapabilityError` if the model has no template.
        """

    @abstractmethod
    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`, with the model's start token in front if `add_special`."""

    @abstractmethod
    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids; special tokens are left out."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:  # noqa: ARG002  for engines to override
        """One vector per text; raises `CapabilityError` unless `capabilities.embeddings`."""
        from modelplug.errors import CapabilityError

        raise CapabilityError(
            f"{self.effective.backend} gives no embeddings for this model",
            capability="embeddings",
            backend=self.effective.backend,
            phase="embed",
            why="the engine does not have this function, or the model was not loaded for it",
            advice="Run `modelplug backends` to see which backend declares embeddings.",
        )

    @property
    @abstractmethod
    def stats(self) -> ModelStats:
        """What it has used and done so far."""

    @abstractmethod
    def close(self) -> None:
        """Free everything it holds; calling it again changes nothing."""

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
