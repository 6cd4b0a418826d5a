"""The model that `modelplug.load` returns: an engine's model with what all engines share around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.arguments import (
    AnyMessage,
    checked_params,
    checked_text,
    conversation,
    prompt_of,
    well_formed,
)
from modelplug.backends.model import (
    NEUTRAL_VALUES,
    CancelToken,
    Chunk,
    GenerateParams,
    Model,
    ModelStats,
)
from modelplug.backends.streaming import check_demands, honoured_parameters
from modelplug.errors import (
    BackendError,
    CapabilityError,
    ModelplugError,
    UsageError,
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
                why="a model that has been closed holds no engine any more",
                advice="Load it again, and use it within its `with` block.",
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
        prompt = prompt_of(prompt)
        params, warnings = self._prepare(params)
        return self._measured(engine.generate(prompt, params, cancel=cancel), warnings)

    def chat(
        self,
        messages: Sequence[AnyMessage],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn; checks the parameters before anything is sent.

        A message may also be a mapping with `role` and `content`.
        """
        engine = self.engine
        turns = conversation(messages)
        self.check_can_chat()
        params, warnings = self._prepare(params)
        return self._measured(engine.chat(turns, params, cancel=cancel), warnings)

    def check_can_chat(self) -> None:
        """Make sure that `chat` is something this model can do.

        Raises:
            CapabilityError: It has no chat template, or its engine does not apply it.
        """
        self._need(
            "chat",
            "the model has no chat template that this engine applies",
            "Use `modelplug run` (`generate` in Python), or a model with a chat template.",
        )

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
        return self.engine.tokenize(well_formed(checked_text(text, "text")), add_special=add_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return well_formed(self.engine.detokenize(tokens))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        engine = self.engine
        if isinstance(texts, str):
            # A string is a sequence of strings too, and would give a vector for each character.
            raise UsageError(
                "texts can't be a str",
                why="each text of a list gets a vector",
                advice="Give a list: model.embed([text]).",
            )
        checked = [well_formed(checked_text(text, "text")) for text in texts]
        self._need(
            "embeddings",
            "the engine has none for this model, or it was loaded without embeddings=True",
            "`modelplug backends` lists what each engine can do; choose another with --backend.",
        )
        return engine.embed(checked)

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        return self.engine.stats

    def close(self) -> None:
        """Free the engine and its process; calling it again changes nothing."""
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            try:
                inner.close()
            finally:
                if self._log is not None:
                    self._log.close()

    def __enter__(self) -> LoadedModel:
        return self

    def _prepare(self, params: GenerateParams | None) -> tuple[GenerateParams, tuple[str, ...]]:
        params = checked_params(params) or self._defaults
        warnings = check_demands(params, self.capabilities, self.effective.backend)
        if warnings:
            honoured = honoured_parameters(self.capabilities)
            dropped = {name: NEUTRAL_VALUES[name] for name in params.demands() if name not in honoured}
            if "temperature" in dropped:
                dropped["temperature"] = 1.0
            params = attrs.evolve(params, **dropped)  # type: ignore[arg-type]
        return params, warnings

    def _need(self, capability: str, why: str, advice: str) -> None:
        if not getattr(self.capabilities, capability):
            raise CapabilityError(
                f"{self.effective.backend} can't do this with this model: {capability}",
                capability=capability,
                backend=self.effective.backend,
                phase="embed" if capability == "embeddings" else "generate",
                why=why,
                advice=advice,
            )

    def _measured(self, chunks: Iterator[Chunk], warnings: tuple[str, ...]) -> Iterator[Chunk]:
        began = time.perf_counter()
        first: float | None = None
        told = self._log is None
        if self._log is not None:
            self._log.began()
        try:
            for chunk in chunks:
                if first is None:
                    first = time.perf_counter() - began
                if not chunk.text.isascii():
                    chunk = attrs.evolve(chunk, text=well_formed(chunk.text))
                if chunk.finish_reason is None or chunk.stats is None:
                    if self._log is not None:
                        self._log.gave()
                    yield chunk
                    continue
                stats = attrs.evolve(
                    chunk.stats,
                    first_token_seconds=first,
                    total_seconds=time.perf_counter() - began,
                    warnings=warnings + chunk.stats.warnings,
                )
                if self._log is not None and not told:
                    told = True
                    self._log.add(stats, chunk.finish_reason)
                yield attrs.evolve(chunk, stats=stats)
        except ModelplugError as error:
            if self._log is not None and not told:
                told = True
                self._log.failed(error)
            raise
        finally:
            if self._log is not None and not told:
                self._log.left(first, time.perf_counter() - began)
