"""Drawing the next token, in the order that modelplug's contract states."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch
from torch import Tensor

from modelplug.backends.model import GenerateParams

__all__ = ["Sampler"]


class Sampler:
    """Draws the tokens of one request: repeat penalty, top_k, top_p, min_p, temperature.

    Args:
        params: How to generate.
    """

    def __init__(self, params: GenerateParams) -> None:
        self._params = params
        # On the CPU, so that a seed means the same wherever the model is.
        self._dice = torch.Generator(device="cpu")
        self._dice.manual_seed(secrets.randbits(63) if params.seed is None else params.seed)

    def draw(self, logits: Tensor, recent: Sequence[int]) -> int:
        """The next token.

        Args:
            logits: One number for each token of the vocabulary, in 32 bits, on the CPU; may be changed.
            recent: The tokens that the repeat penalty is for.
        """
        params = self._params
        if recent and params.repeat_penalty != 1.0:
            places = torch.tensor(sorted(set(recent)))
            scores = logits[places]
            logits[places] = torch.where(
                scores < 0, scores * params.repeat_penalty, scores / params.repeat_penalty
            )
        if params.temperature == 0:
            return int(logits.argmax())
        scores, tokens = logits.sort(descending=True, stable=True)
        if params.top_k:
            scores, tokens = scores[: params.top_k], tokens[: params.top_k]
        shares = scores.softmax(0)
        # A token stays while what stands before it has less than top_p.
        kept = (shares.cumsum(0) - shares < params.top_p) & (shares >= params.min_p * shares[0])
        kept[0] = True
        scores = scores[kept] / params.temperature
        chosen = torch.multinomial(scores.softmax(0), 1, generator=self._dice)
        return int(tokens[kept][chosen])
