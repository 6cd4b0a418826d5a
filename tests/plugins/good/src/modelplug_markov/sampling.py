"""Choosing the next token, with the meaning modelplug gives to each parameter."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from modelplug.backends.model import GenerateParams
from modelplug.backends.streaming import REPEAT_WINDOW

__all__ = ["Sampler"]


class Sampler:
    """Draws tokens for one request.

    Args:
        params: How to choose.
    """

    def __init__(self, params: GenerateParams) -> None:
        self._params = params
        self._random = random.Random(params.seed)

    def choose(self, probabilities: Sequence[float], history: Sequence[int]) -> int:
        """The next token.

        Args:
            probabilities: Of every token.
            history: Prompt and output so far.
        """
        params = self._params
        logits = [math.log(value) for value in probabilities]
        if params.repeat_penalty != 1.0:
            for token in set(history[-REPEAT_WINDOW:]):
                negative = logits[token] < 0
                logits[token] *= params.repeat_penalty if negative else 1 / params.repeat_penalty
        # The smaller token first where two are equally probable, so that greedy decoding is repeatable.
        ranked = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
        if params.temperature == 0:
            return ranked[0]
        kept = self._filter(ranked, logits)
        top = logits[kept[0]]
        weights = [math.exp((logits[token] - top) / params.temperature) for token in kept]
        return self._random.choices(kept, weights)[0]

    def _filter(self, ranked: list[int], logits: Sequence[float]) -> list[int]:
        params = self._params
        kept = ranked[: params.top_k] if params.top_k else ranked
        top = logits[kept[0]]
        weights = [math.exp(logits[token] - top) for token in kept]
        if params.top_p < 1:
            limit, reached, count = params.top_p * sum(weights), 0.0, 0
            for weight in weights:
                count += 1
                reached += weight
                if reached >= limit:
                    break
            kept, weights = kept[:count], weights[:count]
        if params.min_p > 0:
            # The weights are relative to the most probable token, so they compare with min_p directly.
            kept = [
                token for token, weight in zip(kept, weights, strict=True) if weight >= params.min_p
            ] or kept[:1]
        return kept
