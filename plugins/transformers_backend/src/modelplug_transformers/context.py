"""What the engine has already computed of a sequence, and keeping it for the next request."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Context"]


class Context:
    """A sequence of tokens and the engine's state after them.

    Prompts are evaluated in blocks of a fixed size, and only whole blocks are kept for later requests. So a
    prompt is computed in the same steps, and with the same rounding, whether or not part of it was known.

    Args:
        torch: The module.
        model: The engine's model.
        device: Where input goes.
        block: Prompt tokens evaluated at once.

    Attributes:
        tokens: What has been evaluated.
    """

    def __init__(self, torch: Any, model: Any, device: Any, block: int) -> None:
        self._torch = torch
        self._model = model
        self._device = device
        self._block = block
        accepted = inspect.signature(model.forward).parameters
        # State-space models keep their state under another name than attention's keys and values.
        self._state_name = "cache_params" if "cache_params" in accepted else "past_key_values"
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        # Recurrent states are made for a whole prompt or for one token, and can't be shortened.
        self._recurrent = self._state_name == "cache_params" or bool(getattr(model, "_is_stateful", False))
        self._state: Any = None
        self._whole = 0
        self.tokens: list[int] = []

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep what can be kept of the state for a prompt, drop the rest, and say how many tokens that is."""
        # At least one token is left to evaluate, because that is what gives the next one's logits.
        limit = min(len(tokens) - 1, self._whole)
        same = 0
        while same < limit and tokens[same] == self.tokens[same]:
            same += 1
        keep = same // self._block * self._block
        if keep == 0 or not self._cut(keep):
            self._state, self._whole, keep = None, 0, 0
        del self.tokens[keep:]
        self._whole = min(self._whole, keep)
        return keep

    def blocks(self, tokens: Sequence[int]) -> list[Sequence[int]]:
        """Cut tokens into what is evaluated at once."""
        size = len(tokens) if self._recurrent else self._block
        return [tokens[start : start + size] for start in range(0, len(tokens), size)]

    def evaluate(self, tokens: Sequence[int]) -> Any:
        """Append tokens, and give the logits of the one to follow: 32 bits, on the CPU."""
        torch = self._torch
        before = len(self.tokens)
        with torch.inference_mode():
            given = torch.tensor([list(tokens)], device=self._device)
            # One sequence without padding needs no mask; each model makes the one its attention wants.
            output = self._model(
                input_ids=given, use_cache=True, **{self._state_name: self._state}, **self._options
            )
            self._state = getattr(output, self._state_name)
            logits = output.logits[0, -1].to(device="cpu", dtype=torch.float32, copy=True)
        self.tokens.extend(tokens)
        if before == self._whole and len(tokens) == self._block and not self._recurrent:
            self._whole += self._block
        return logits

    def _cut(self, length: int) -> bool:
        """Shorten the state; False if this kind of state can't be."""
        surplus = len(self.tokens) - length
        if surplus == 0:
            return True
        layers = getattr(self._state, "layers", None)
        # Windows and recurrent states have forgotten what came before.
        if not layers or any(type(layer).__name__ != "DynamicLayer" for layer in layers):
            return False
        # A negative number is how many to remove; what a positive one means differs between versions.
        self._state.crop(-surplus)
        return bool(self._state.get_seq_length() == length)
