"""What every engine needs to turn tokens into a stream of chunks, so that they all behave alike.

Stop strings, whole characters, parameters an engine can't honour and prompts that are too long are decided
here, once. An engine plugin feeds what its engine gives and yields what comes out.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from modelplug.backends.model import (
    NEUTRAL_VALUES,
    Capabilities,
    Chunk,
    GenerateParams,
    GenerationStats,
)
from modelplug.errors import BackendError, ContextOverflowError, UnsupportedParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "OVERFLOW_ADVICE",
    "REPEAT_WINDOW",
    "ChunkBuilder",
    "StopFilter",
    "Utf8Decoder",
    "check_demands",
    "fit_prompt",
    "honoured_parameters",
    "room_for_output",
]

REPEAT_WINDOW = 64
"""Tokens of prompt and output that `GenerateParams.repeat_penalty` looks back on."""

OVERFLOW_ADVICE = (
    "Shorten the prompt, load the model with a larger context_size (--context-size), up to the model's own, "
    "or pass overflow='truncate' (--overflow truncate) to drop the beginning of the prompt."
)
"""What to do about a prompt that is longer than the context."""


class StopFilter:
    """Passes text on until one of some strings has appeared, however the text is cut into pieces.

    The stop string that is complete first ends the text (of several complete at the same character, the
    longest), and what precedes it is passed on. Text that may yet turn out to be the beginning of a stop
    string is held back until that is decided. The result does not depend on where pieces begin and end.

    Args:
        stops: The strings; none lets everything through at once.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._matched: str | None = None

    @property
    def matched(self) -> str | None:
        """The stop string that was found; None if none was so far."""
        return self._matched

    @property
    def held(self) -> str:
        """The text held back."""
        return self._held

    def feed(self, text: str) -> tuple[str, bool]:
        """Take the next piece.

        Args:
            text: May be empty.

        Returns:
            The text that is now certain to belong to the output, and whether a stop string was found.
            After that, everything fed is dropped.
        """
        if self._matched is not None:
            return "", True
        if not self._stops:
            return text, False
        buffer = self._held + text
        found = self._first_match(buffer)
        if found is not None:
            start, self._matched = found
            self._held = ""
            return buffer[:start], True
        keep = self._undecided(buffer)
        cut = len(buffer) - keep
        self._held = buffer[cut:]
        return buffer[:cut], False

    def flush(self) -> str:
        """Give what was held back, because no more text will come."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, buffer: str) -> tuple[int, str] | None:
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = buffer.find(stop)
            if start >= 0:
                candidate = (start + len(stop), start, stop)
                best = candidate if best is None else min(best, candidate)
        return None if best is None else (best[1], best[2])

    def _undecided(self, buffer: str) -> int:
        """Length of the longest end of `buffer` that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(buffer)), longest, -1):
                if buffer.endswith(stop[:length]):
                    longest = length
                    break
        return longest


class Utf8Decoder:
    """Decodes UTF-8 that arrives in arbitrary pieces, as tokens of a byte-level vocabulary do.

    Bytes that can't be part of any character become U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """Give the characters that `data` completes."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Give U+FFFD if the bytes so far end within a character, otherwise nothing.

        Output that ends there because of a limit leaves this out: half a character says nothing.
        """
        return self._decoder.decode(b"", final=True)


class ChunkBuilder:
    """Makes chunks of tokens and their text, with stop strings applied.

    No chunk but the last has empty text: token ids wait for the text they belong to.

    Args:
        params: The request's parameters; `stop`, `return_tokens` and `logprobs` matter here.
    """

    def __init__(self, params: GenerateParams) -> None:
        self._filter = StopFilter(params.stop)
        self._return_tokens = params.return_tokens
        self._tokens: list[int] = []
        self._logprobs: list[dict[str, float]] = []
        self._text = ""
        self.completion_tokens = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._filter.matched is not None

    def add(
        self, text: str, *, token: int | None = None, logprobs: Mapping[str, float] | None = None
    ) -> Chunk | None:
        """Take one token.

        Args:
            text: The whole characters that it completed; may be empty.
            token: Its id, if known.
            logprobs: Candidate text to log probability, if asked for.

        Returns:
            The next chunk, or None if there is nothing to pass on yet. Look at `stopped` first: once it is
            true, the text belongs into the last chunk.
        """
        self.completion_tokens += 1
        if token is not None and self._return_tokens:
            self._tokens.append(token)
        if logprobs is not None:
            self._logprobs.append(dict(logprobs))
        emit, stopped = self._filter.feed(text)
        self._text += emit
        if stopped or not self._text:
            return None
        return self._take(None, None)

    def finish(self, reason: str, stats: GenerationStats) -> Chunk:
        """Give the last chunk, with everything held back so far.

        Args:
            reason: Its `finish_reason`; a stop string that was found makes it `stop` in any case.
            stats: Its statistics.
        """
        self._text += self._filter.flush()
        return self._take("stop" if self.stopped else reason, stats)

    def _take(self, reason: str | None, stats: GenerationStats | None) -> Chunk:
        chunk = Chunk(self._text, tuple(self._tokens), reason, stats, tuple(self._logprobs))
        self._text = ""
        self._tokens.clear()
        self._logprobs.clear()
        return chunk


def honoured_parameters(capabilities: Capabilities) -> frozenset[str]:
    """Give the names of `GenerateParams` that an engine with these capabilities honours."""
    names = set(capabilities.parameters)
    if capabilities.grammar:
        names.add("grammar")
    if capabilities.logprobs:
        names.add("logprobs")
    return frozenset(names)


def check_demands(params: GenerateParams, capabilities: Capabilities, backend: str) -> tuple[str, ...]:
    """Make sure that nothing the caller asked for is dropped in silence.

    Args:
        params: The request's parameters.
        capabilities: What the engine can do with this model.
        backend: The backend's name, for messages.

    Returns:
        One sentence for each parameter the engine can't honour, for `GenerationStats.warnings`.

    Raises:
        UnsupportedParameterError: There is such a parameter and `params.unsupported` is `error`.
    """
    honoured = honoured_parameters(capabilities)
    refused = {name: value for name, value in params.demands().items() if name not in honoured}
    if not refused:
        return ()
    if params.unsupported == "warn":
        return tuple(
            f"{name}={value!r} was left out: {backend} can't honour it." for name, value in refused.items()
        )
    name, value = next(iter(refused.items()))
    raise UnsupportedParameterError(
        f"{backend} can't honour {' and '.join(f'{key}={item!r}' for key, item in refused.items())}",
        parameter=name,
        value=value,
        supported=sorted(honoured),
        backend=backend,
        phase="generate",
        why=f"its engine understands {', '.join(sorted(honoured))} only",
        advice=_way_out(list(refused)),
    )


def _way_out(refused: list[str]) -> str:
    """What to type instead of parameters that can't be honoured."""
    demanding = GenerateParams().demands()
    # Leaving out what has a demanding default would ask for that default, so its neutral value is named.
    neutral: dict[str, Any] = {
        name: NEUTRAL_VALUES[name]
        for name in refused
        if name in demanding and NEUTRAL_VALUES[name] is not None
    }
    left_out = [name for name in refused if name not in demanding]
    ways = []
    if left_out:
        ways.append(f"leave {' and '.join(left_out)} out")
    if neutral:
        keywords = " and ".join(f"{name}={value!r}" for name, value in neutral.items())
        options = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in neutral.items())
        ways.append(f"pass {keywords} ({options})")
    first = " and ".join(ways)
    rest = "choose another backend, or pass unsupported='warn' (--unsupported warn) to go on without"
    text = f"{first}, {rest}" if first else rest
    return f"{text[0].upper()}{text[1:]}."


def fit_prompt(
    tokens: Sequence[int],
    context_size: int,
    params: GenerateParams,
    backend: str,
    *,
    start_tokens: int = 0,
) -> tuple[list[int], tuple[str, ...]]:
    """Make sure that a prompt leaves room in the context for at least one token of output.

    A prompt that is cut keeps its start tokens and its end, and leaves room for `max_tokens` of output, but
    never gives up more than half of the context for that.

    Args:
        tokens: The prompt.
        context_size: Tokens that prompt and output may have together.
        params: The request's parameters; `overflow` and `max_tokens` matter here.
        backend: The backend's name, for messages.
        start_tokens: How many tokens at the front are the model's own start tokens.

    Returns:
        The tokens to evaluate, and the warnings for `GenerationStats.warnings`.

    Raises:
        ContextOverflowError: It does not fit and `params.overflow` is `error`.
        BackendError: There is no token at all to begin with.
    """
    if not tokens:
        raise BackendError(
            "the prompt is empty",
            backend=backend,
            phase="generate",
            cause="empty-prompt",
            why="the model adds no start token of its own, so there is nothing to continue",
            advice="Give at least one character of prompt.",
        )
    count = len(tokens)
    if count < context_size:
        return list(tokens), ()
    if params.overflow == "error":
        raise ContextOverflowError(
            f"the prompt has {count} tokens, but the context holds {context_size}",
            prompt_tokens=count,
            context_size=context_size,
            backend=backend,
            why="prompt and output share the context, and the output needs at least one token",
            advice=OVERFLOW_ADVICE,
        )
    reserve = max(1, min(params.max_tokens or context_size // 2, context_size // 2))
    keep = max(1, context_size - reserve)
    start = min(start_tokens, keep - 1)
    fitted = [*tokens[:start], *tokens[count - (keep - start) :]]
    dropped = count - keep
    warning = (
        f"The prompt has {count} tokens and the context holds {context_size}: "
        f"the first {dropped} tokens{' after the start token' if start else ''} were dropped."
    )
    return fitted, (warning,)


def room_for_output(prompt_tokens: int, context_size: int, params: GenerateParams) -> int:
    """Tokens that may be generated at most: `max_tokens`, or fewer if the context is full before."""
    room = max(0, context_size - prompt_tokens)
    return room if params.max_tokens is None else min(room, params.max_tokens)
