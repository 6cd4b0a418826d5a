"""Perplexity of texts that are much longer than memory would hold at once."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from resnet_bk.errors import InvalidInputError
from resnet_bk.evaluation.token_sources import chunks_of
from resnet_bk.streaming import DEFAULT_CHUNK

if TYPE_CHECKING:
    from resnet_bk.modeling import ResNetBKForCausalLM
    from resnet_bk.streaming import StreamState

__all__ = ["Perplexity", "StreamingEvaluator"]

# Logits that are held at once.
_LOGITS = 1 << 24


class Perplexity(float):
    """exp of the mean loss, a number that also says what it was made of.

    Attributes:
        loss: Mean negative log likelihood of a token, in nats.
        predicted: Tokens that were predicted; the first of a text is not.
        tokens: Tokens that were read.
        chunks: Pieces in which they were read.
        seconds: How long it took.
    """

    loss: float
    predicted: int
    tokens: int
    chunks: int
    seconds: float

    @classmethod
    def of(cls, total: float, *, predicted: int, tokens: int, chunks: int, seconds: float) -> Perplexity:
        """The perplexity of a total loss."""
        loss = total / predicted
        made = cls(math.exp(loss) if loss < 700 else math.inf)
        made.loss, made.predicted, made.tokens = loss, predicted, tokens
        made.chunks, made.seconds = chunks, seconds
        return made

    @property
    def tokens_per_second(self) -> float:
        """Tokens read in a second."""
        return self.tokens / self.seconds if self.seconds else math.inf


class StreamingEvaluator:
    """Evaluates a model on texts of any length; the state goes from chunk to chunk, so cuts change nothing.

    Args:
        model: The model.
        chunk_size: Tokens of each text that are computed at once; memory grows with it.
    """

    def __init__(self, model: ResNetBKForCausalLM, chunk_size: int = DEFAULT_CHUNK) -> None:
        if chunk_size < 1:
            raise InvalidInputError(
                f"a chunk can't have {chunk_size} tokens", tensor="chunk_size", advice="Use at least 1."
            )
        self.model = model
        self.chunk_size = chunk_size

    def evaluate(self, dataset: Any, max_length: int = 1_000_000) -> Perplexity:
        """How well the model predicts a text.

        Args:
            dataset: The tokens: a tensor or array, (N,), or (B, N) for texts side by side; a `.npy` file,
                which is mapped into memory; a `TokenStream`; or an iterable of tokens, of rows of tokens, or
                of examples with `input_ids`, which are read as one text.
            max_length: Tokens of each text to read at most.

        Returns:
            The perplexity, with `loss`, `predicted`, `tokens`, `chunks` and `seconds`.

        Raises:
            InvalidInputError: It gives no tokens, too few to predict one, or unknown ones.
            ConfigurationError: The model sees the future, so its predictions would be none.
        """
        started = time.perf_counter()
        stream: StreamState | None = None
        last: Tensor | None = None
        total, predicted, tokens, chunks = 0.0, 0, 0, 0
        for chunk in chunks_of(dataset, self.chunk_size, max_length):
            if stream is None:
                stream = self.model.stream_state(batch_size=chunk.shape[0])
            chunk = chunk.to(self.model.device)
            hidden = stream.hidden(chunk)
            before, targets = hidden[:, :-1], chunk[:, 1:]
            if last is not None:
                before, targets = torch.cat([last, before], 1), chunk
            total += self._loss(before, targets)
            last = hidden[:, -1:].clone()
            predicted += targets.numel()
            tokens += chunk.numel()
            chunks += 1
        if not predicted:
            raise InvalidInputError(
                f"there are {tokens} tokens, and the first of a text is not predicted",
                tensor="dataset",
                advice="Give a text of at least two tokens.",
            )
        seconds = time.perf_counter() - started
        return Perplexity.of(total, predicted=predicted, tokens=tokens, chunks=chunks, seconds=seconds)

    def _loss(self, hidden: Tensor, targets: Tensor) -> float:
        """The sum of the losses, with the logits of some tokens at a time."""
        rows = max(1, _LOGITS // self.model.config.vocab_size)
        pieces = zip(hidden.flatten(0, 1).split(rows), targets.flatten().split(rows), strict=True)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        with torch.inference_mode():
            for piece, wanted in pieces:
                logits = self.model.lm_head(piece).float()
                total += functional.cross_entropy(logits, wanted, reduction="none").double().sum()
        return float(total)
