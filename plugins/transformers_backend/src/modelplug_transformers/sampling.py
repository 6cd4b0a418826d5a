"""Choosing the next token, in the order that the contract states."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.model import GenerateParams

__all__ = ["Sampler"]


class Sampler:
    """Draws tokens for one request: repeat penalty, top_k, top_p, min_p, temperature.

    Args:
        torch: The module.
        params: How to generate.
    """

    def __init__(self, torch: Any, params: GenerateParams) -> None:
        self._torch = torch
        self._params = params
        # On the CPU, so that the same seed gives the same numbers wherever the model is.
        self._generator = torch.Generator(device="cpu")
        seed = params.seed if params.seed is not None else secrets.randbits(63)
        self._generator.manual_seed(seed)

    def choose(self, logits: Any, recent: Sequence[int]) -> int:
        """Give the next token.

        Args:
            logits: One number per token of the vocabulary, in 32 bits, on the CPU; may be changed.
            recent: The tokens that the repeat penalty is for.
        """
        with self._torch.inference_mode():
            return self._choose(logits, recent)

    def _choose(self, logits: Any, recent: Sequence[int]) -> int:
        torch, params = self._torch, self._params
        if params.repeat_penalty != 1.0 and recent:
            seen = torch.tensor(sorted(set(recent)))
            values = logits[seen]
            penalty = params.repeat_penalty
            logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
        if params.temperature == 0:
            return int(logits.argmax())
        count = min(params.top_k or logits.numel(), logits.numel())
        values, tokens = torch.topk(logits, count)
        probabilities = torch.softmax(values, dim=0)
        keep = count
        if params.top_p < 1.0:
            reached = torch.cumsum(probabilities, dim=0) >= params.top_p
            keep = int(reached.to(torch.int8).argmax()) + 1 if bool(reached.any()) else count
        if params.min_p > 0.0:
            likely = int((probabilities >= params.min_p * probabilities[0]).sum())
            keep = min(keep, likely)
        scaled = torch.softmax(values[:keep] / params.temperature, dim=0)
        return int(tokens[torch.multinomial(scaled, 1, generator=self._generator)])
