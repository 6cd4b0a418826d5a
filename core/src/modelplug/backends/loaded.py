"""The model that `modelplug.load` returns: an engine's model with what all engines share around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.model import (
    NEUTRAL_VALUES,
    CancelToken,
    Chunk,
    GenerateParams,
    Message,
    Model,
    ModelStats,
)
from modelplug.backends.streaming import check_demands, honoured_parameters
from modelplug.errors import (
    BackendError,
    CapabilityError,
    ModelplugError,
    WorkerCrashedError,
    WorkerTimeoutError,
)

if TYPE_CHECKING:
    from modelplug.backends.records import RunLog
    from modelplug.backends.types import LoadResult

__all__ = ["LoadedModel"]


class LoadedModel(Model):
    """Checks each request, measures it as the caller sees it, and remembers it.

    Args:
        inner: The engine's model, in this process or in a worker.
        log: Takes what was measured; None keeps no record.
        defaults: Parameters for requests that come without any.

    Attributes:
        load_result: How loading went.
    """

    load_result: LoadResult

    def __init__(
        self, inner: Model, *, log: RunLog | None = None, defaults: GenerateParams | None = None
    ) -> None:
        self._inner: Model | None = inner
        self._log = log
        self._defaults = defaults or GenerateParams()
        self._lock = threading.Lock()
        self.info = inner.info
        self.capabilities = inner.capabilities
        self.effective = inner.effective

    @property
    def engine(self) -> Model:
        """The engine's own model.

        Raises:
            BackendError: This model has been closed.
        """
        inner = self._inner
        if inner is None:
            raise BackendError(
                "the model has been closed",
                backend=self.effective.backend,
                phase="generate",
                cause="closed",
                advice="Load it again.",
            )
        return inner

    @property
    def default_params(self) -> GenerateParams:
        """The parameters of requests that come without any."""
        return self._defaults

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`; checks the parameters before anything is sent."""
        engine = self.engine
        params, warnings = self._prepare(params)
        prompt = well_formed(prompt) if isinstance(prompt, str) else prompt
        return self._measured(engine.generate(prompt, params, cancel=cancel), warnings)

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn; checks the parameters before anything is sent."""
        engine = self.engine
        self._need("chat", "the model has no chat template that this engine applies")
        params, warnings = self._prepare(params)
        messages = [Message(message.role, well_formed(message.content)) for message in messages]
        return self._measured(engine.chat(messages, params, cancel=cancel), warnings)

    def complete(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> str:
        """The whole continuation of `prompt` as one string."""
        return "".join(chunk.text for chunk in self.generate(prompt, params, cancel=cancel))

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`."""
        return self.engine.tokenize(well_formed(text), add_special=add_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return well_formed(self.engine.detokenize(tokens))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        engine = self.engine
        self._need(
            "embeddings", "the engine has none for this model, or it was loaded without embeddings=True"
        )
        return engine.embed([well_formed(text) for text in texts])

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        return self.engine.stats

    def close(self) -> None:
        """Free the engine and its process; calling it again changes nothing."""
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()
            if self._log is not None:
                self._log.flush()

    def __enter__(self) -> LoadedModel:
        return self

    def _prepare(self, params: GenerateParams | None) -> tuple[GenerateParams, tuple[str, ...]]:
        params = params or self._defaults
        warnings = check_demands(params, self.capabilities, self.effective.backend)
        if warnings:
            honoured = honoured_parameters(self.capabilities)
            dropped = {name: NEUTRAL_VALUES[name] for name in params.demands() if name not in honoured}
            if "temperature" in dropped:
                dropped["temperature"] = 1.0
            params = attrs.evolve(params, **dropped)  # type: ignore[arg-type]
        return params, warnings

    def _need(self, capability: str, why: str) -> None:
        if not getattr(self.capabilities, capability):
            raise CapabilityError(
                f"{self.effective.backend} can't do this with this model: {capability}",
                capability=capability,
                backend=self.effective.backend,
                phase="embed" if capability == "embeddings" else "generate",
                why=why,
                advice="`modelplug backends` lists what each engine can do; choose another with --backend.",
            )

    def _measured(self, chunks: Iterator[Chunk], warnings: tuple[str, ...]) -> Iterator[Chunk]:
        began = time.perf_counter()
        first: float | None = None
        try:
            for chunk in chunks:
                if first is None:
                    first = time.perf_counter() - began
                if not chunk.text.isascii():
                    chunk = attrs.evolve(chunk, text=well_formed(chunk.text))
                if chunk.finish_reason is None or chunk.stats is None:
                    yield chunk
                    continue
                stats = attrs.evolve(
                    chunk.stats,
                    first_token_seconds=first,
                    total_seconds=time.perf_counter() - began,
                    warnings=warnings + chunk.stats.warnings,
                )
                if self._log is not None:
                    self._log.add(stats)
                yield attrs.evolve(chunk, stats=stats)
        except ModelplugError as error:
            if self._log is not None and isinstance(error, (WorkerCrashedError, WorkerTimeoutError)):
                self._log.failed(error)
            raise


def well_formed(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which no encoding and few engines take."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
