"""What the engine has computed of a text, and keeping some of it for later requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from resnet_bk.backend.threads import Threads
    from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["PrefixStates", "RecurrentContext", "WholeContext"]

_KEPT = 4


class PrefixStates:
    """The states after the beginnings of recent prompts, for prompts that begin in the same way.

    A prompt is evaluated in blocks of one size, and only states between blocks are kept: so it is computed in
    the same steps, and with the same rounding, whether or not its beginning was known.

    Args:
        block: Tokens of a block.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self._lock = threading.Lock()
        self._kept: list[tuple[tuple[int, ...], Any]] = []

    def longest(self, tokens: Sequence[int]) -> tuple[int, Any]:
        """How many tokens of a prompt are known, never all of them, and a copy of the state after them."""
        with self._lock:
            best: tuple[tuple[int, ...], Any] = ((), None)
            for known, stream in self._kept:
                if len(best[0]) < len(known) < len(tokens) and tuple(tokens[: len(known)]) == known:
                    best = (known, stream)
            return len(best[0]), None if best[1] is None else best[1].clone()

    def keep(self, tokens: Sequence[int], stream: Any) -> None:
        """Keep a copy of the state after these tokens, and forget the oldest."""
        with self._lock:
            known = tuple(tokens)
            self._kept = [entry for entry in self._kept if entry[0] != known][1 - _KEPT :]
            self._kept.append((known, stream.clone()))


class RecurrentContext:
    """A text, and the model's state after it.

    Args:
        model: The model.
        states: What is known of earlier prompts.
        threads: What it computes with.
    """

    def __init__(self, model: ResNetBKForCausalLM, states: PrefixStates, threads: Threads) -> None:
        self._model = model
        self._states = states
        self._threads = threads
        self._stream = model.stream_state()
        self._seen: list[int] = []
        self._prompt = 0

    def begin(self, tokens: Sequence[int]) -> int:
        """Take from earlier prompts what can be taken, and say how many tokens that is."""
        known, stream = self._states.longest(tokens)
        if stream is not None:
            self._stream = stream
        self._seen = list(tokens[:known])
        self._prompt = len(tokens)
        return known

    def blocks(self, tokens: Sequence[int]) -> Iterator[Sequence[int]]:
        """Cut what is left of a prompt into what is evaluated at once."""
        for start in range(0, len(tokens), self._states.block):
            yield tokens[start : start + self._states.block]

    def evaluate(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append tokens, and give the logits of the one to follow: 32 bits, on the CPU."""
        given = torch.tensor([list(tokens)], device=self._model.device)
        with self._threads.computing(len(tokens)):
            logits = self._stream.prefill(given, chunk_size=len(tokens))
        self._seen.extend(tokens)
        if len(tokens) == self._states.block and len(self._seen) <= self._prompt:
            self._states.keep(self._seen, self._stream)
        return logits[0].to(device="cpu", dtype=torch.float32, copy=True)


class WholeContext:
    """A text of a model without a state, which computes all of it for every token.

    Args:
        model: The model.
        threads: What it computes with.
    """

    def __init__(self, model: ResNetBKForCausalLM, threads: Threads) -> None:
        self._model = model
        self._threads = threads
        self._seen: list[int] = []

    def begin(self, tokens: Sequence[int]) -> int:  # noqa: ARG002  nothing is known before
        """Nothing is kept from earlier prompts."""
        return 0

    def blocks(self, tokens: Sequence[int]) -> Iterator[Sequence[int]]:
        """A prompt is evaluated at once."""
        yield tokens

    def evaluate(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append tokens, and give the logits of the one to follow: 32 bits, on the CPU."""
        self._seen.extend(tokens)
        with torch.inference_mode(), self._threads.computing(len(self._seen)):
            given = torch.tensor([self._seen], device=self._model.device)
            logits = self._model(given, logits_to_keep=1).logits[0, -1]
        return logits.to(device="cpu", dtype=torch.float32, copy=True)
