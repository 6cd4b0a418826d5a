"""A made-up language model: the two last characters decide how probable each next one is."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Sequence
from functools import lru_cache

from modelplug.backends.model import GenerateParams
from modelplug.backends.streaming import REPEAT_WINDOW

__all__ = ["Sampler", "logits_after"]

FIRST_BYTE = 2
CANDIDATES = tuple(byte + FIRST_BYTE for byte in b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMN\n.,:;")


@lru_cache(maxsize=4096)
def _plain_logits(before: int, last: int) -> tuple[float, ...]:
    return tuple(1 + zlib.crc32(bytes((before % 256, last % 256, token))) / 2**30 for token in CANDIDATES)


def logits_after(history: Sequence[int]) -> dict[int, float]:
    """The logit of every token that may follow."""
    before, last = ([0, 0, *history])[-2:]
    return dict(zip(CANDIDATES, _plain_logits(before, last), strict=True))


class Sampler:
    """Chooses tokens for one request.

    Args:
        params: How.
        fault: What to do wrongly.
    """

    def __init__(self, params: GenerateParams, fault: str) -> None:
        self._params = params
        self._fault = fault
        seed = params.seed
        if fault == "ignores_seed":
            seed = None
        elif (fault == "seed_is_constant" and seed is not None) or (
            fault == "no_fresh_seed" and seed is None
        ):
            seed = 17
        self._random = random.Random(seed)

    def choose(self, history: Sequence[int]) -> tuple[int, dict[int, float]]:
        """The next token, and the log probabilities of all of them."""
        params, logits = self._params, logits_after(history)
        total = math.log(sum(math.exp(value) for value in logits.values()))
        logprobs = {token: value - total for token, value in logits.items()}
        if params.repeat_penalty != 1 and self._fault != "fakes_repeat_penalty":
            for token in set(history[-REPEAT_WINDOW:]) & logits.keys():
                logits[token] /= params.repeat_penalty
        ranked = sorted(logits, key=lambda token: (-logits[token], token))
        if params.temperature == 0 and self._fault != "greedy_is_not":
            return ranked[0], logprobs
        temperature = params.temperature or 0.5
        if self._fault == "fakes_temperature":
            return ranked[0], logprobs
        if self._fault == "temperature_comes_first":
            logits = {token: value / temperature for token, value in logits.items()}
            temperature = 1.0
        kept = self._filtered(ranked, logits)
        weights = [math.exp((logits[token] - logits[kept[0]]) / temperature) for token in kept]
        return self._random.choices(kept, weights)[0], logprobs

    def _filtered(self, ranked: list[int], logits: dict[int, float]) -> list[int]:
        params = self._params
        kept = ranked[: params.top_k] if params.top_k and self._fault != "fakes_top_k" else ranked
        weights = [math.exp(logits[token] - logits[kept[0]]) for token in kept]
        if params.top_p < 1 and self._fault != "fakes_top_p":
            reached, count = 0.0, 0
            while reached < params.top_p * sum(weights):
                reached += weights[count]
                count += 1
            kept = kept[: max(1, count)]
        if params.min_p and self._fault != "fakes_min_p":
            kept = [token for token in kept if math.exp(logits[token] - logits[kept[0]]) >= params.min_p]
        return kept
