"""Reading a text of any length piece by piece, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from resnet_bk.configuration import ConfigurationError
from resnet_bk.errors import InvalidInputError
from resnet_bk.fused_decoding import FusedDecoding
from resnet_bk.modeling.cache import RecurrentCache

if TYPE_CHECKING:
    from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["DEFAULT_CHUNK", "StreamState"]

DEFAULT_CHUNK = 8192


class StreamState:
    """Where a model stands in one text, or in several that it reads side by side.

    It has one size, however long the text. Nothing is kept for gradients, and dropout is off.

    Args:
        model: The model.
        batch_size: Texts side by side.

    Attributes:
        cache: The state of every layer; its tensors are changed.

    Raises:
        ConfigurationError: The model sees the future, so there is nothing to go on from.
    """

    def __init__(self, model: ResNetBKForCausalLM, *, batch_size: int = 1) -> None:
        if not model.config.is_causal:
            raise ConfigurationError(
                "a model with the mixer diagonal-bidirectional can't read a text piece by piece",
                key="mixer",
                value=model.config.mixer,
                why="what it says about a token depends on all tokens after it",
                advice="Give it whole texts, of n_seq tokens at most.",
            )
        self._model = model
        self._batch_size = batch_size
        self._fused = FusedDecoding(model) if batch_size == 1 else None
        self.cache = RecurrentCache()

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.cache.columns

    @property
    def nbytes(self) -> int:
        """Bytes that the state takes."""
        return self.cache.nbytes

    def reset(self) -> None:
        """Begin anew."""
        self.cache.reset()

    def clone(self) -> StreamState:
        """A copy to go on from independently."""
        made = StreamState(self._model, batch_size=self._batch_size)
        made.cache = self.cache.clone()
        return made

    def step(self, tokens: Tensor | Sequence[int] | int) -> Tensor:
        """Read one token of each text.

        Args:
            tokens: The tokens, (B,), or a single one.

        Returns:
            The logits of the next token, (B, vocab_size).
        """
        if isinstance(tokens, int):
            found = self._decode(tokens)
            if found is not None:
                return found
        return self._next(torch.as_tensor(tokens, device=self._device).reshape(-1, 1))

    def prefill(self, tokens: Tensor | Sequence[int], *, chunk_size: int = DEFAULT_CHUNK) -> Tensor:
        """Read several tokens of each text.

        Args:
            tokens: The tokens, (N,) or (B, N).
            chunk_size: Tokens of each text that are computed at once; memory grows with it.

        Returns:
            The logits of the token after the last, (B, vocab_size).
        """
        last = None
        for chunk in self._chunks(tokens, chunk_size):
            last = self._next(chunk)
        if last is None:
            raise InvalidInputError(
                "`tokens` is empty", tensor="tokens", advice="Give at least one token for each text."
            )
        return last

    def logits(self, tokens: Tensor | Sequence[int], *, chunk_size: int = DEFAULT_CHUNK) -> Iterator[Tensor]:
        """Read several tokens of each text, and give the logits of the token after each of them.

        Args:
            tokens: The tokens, (N,) or (B, N).
            chunk_size: Tokens of each text that are computed at once; memory grows with it.

        Yields:
            (B, up to chunk_size, vocab_size).
        """
        for chunk in self._chunks(tokens, chunk_size):
            yield self._logits(self.hidden(chunk))

    def hidden(self, tokens: Tensor) -> Tensor:
        """Read tokens, and give the last hidden state of each, from which the output computes logits.

        Args:
            tokens: The tokens, (B, N), all computed at once.
        """
        if tokens.shape[0] != self._batch_size:
            raise InvalidInputError(
                f"`tokens` has {tokens.shape[0]} rows, and the stream has {self._batch_size} texts",
                tensor="tokens",
                advice="Make the stream with stream_state(batch_size=...).",
            )
        with torch.inference_mode(), _evaluating(self._model):
            found: Tensor = self._model.model(
                input_ids=tokens,
                past_key_values=self.cache,
                use_cache=True,
                copying=self._model.copying(tokens),
            ).last_hidden_state
        return found

    def _next(self, tokens: Tensor) -> Tensor:
        """Read tokens, and give the logits of the one after the last."""
        if tokens.shape == (1, 1):
            found = self._decode(int(tokens))
            if found is not None:
                return found
        return self._logits(self.hidden(tokens)[:, -1:])[:, -1]

    def _decode(self, token: int) -> Tensor | None:
        """The same for one token in one call of the compiled kernels; None where that can't be done."""
        if self._fused is None:
            return None
        with torch.inference_mode():
            return self._fused.logits(self.cache, token)

    @property
    def _device(self) -> torch.device:
        # The property of the model looks through all modules, and embeddings may have to decode a weight.
        device: torch.device = self._model.model.norm.weight.device
        return device

    def _logits(self, hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = self._model.lm_head(hidden)
        return found

    def _chunks(self, tokens: Tensor | Sequence[int], size: int) -> Iterator[Tensor]:
        if size < 1:
            raise InvalidInputError(
                f"a chunk can't have {size} tokens", tensor="chunk_size", advice="Use at least 1."
            )
        rows = torch.as_tensor(tokens)
        rows = rows.unsqueeze(0) if rows.ndim == 1 else rows
        for start in range(0, rows.shape[1], size):
            yield rows[:, start : start + size].to(self._device)


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Without dropout, and as it was afterwards."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
