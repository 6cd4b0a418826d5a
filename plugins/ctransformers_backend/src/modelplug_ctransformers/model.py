"""A model loaded with ctransformers."""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING

from modelplug.backends.model import (
    CancelToken,
    Capabilities,
    Chunk,
    Effective,
    GenerateParams,
    Message,
    Model,
    ModelStats,
)
from modelplug.backends.requests import check_tokens, with_request
from modelplug.backends.streaming import Utf8Decoder, check_demands, fit_prompt
from modelplug.errors import CapabilityError
from modelplug_ctransformers.engine import NAME, Engine, cpu_flags, library_for
from modelplug_ctransformers.limits import check_model
from modelplug_ctransformers.settings import MAX_BATCH, CtransformersSettings
from modelplug_ctransformers.stream import Stream
from modelplug_ctransformers.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.backends.types import LoadRequest

__all__ = ["CtransformersModel"]

ENGINE_VERSION = "0.2.27"


class CtransformersModel(Model):
    """A model in ctransformers.

    Args:
        request: What to load and how.

    Raises:
        BackendError: The engine can't run this model.
    """

    def __init__(self, request: LoadRequest) -> None:
        settings = request.settings_as(CtransformersSettings)
        model_type = check_model(request.info, settings.model_type, NAME)
        self.info = request.info
        gpu_layers = _engine_layers(request)
        batch_size = settings.batch_size or MAX_BATCH
        self._engine = Engine(
            request.info.files[0] if request.info.files else request.path,
            model_type=model_type,
            library=library_for(settings.library, cpu_flags(), gpu=gpu_layers > 0),
            options={
                "context_length": request.context_size,
                "gpu_layers": gpu_layers,
                "mmap": settings.use_mmap,
                "mlock": settings.use_mlock,
            },
            batch_size=batch_size,
            threads=request.threads,
        )
        # Engines of legacy types take their context from the file and pass the option over.
        context_size = min(self._engine.context_size, request.context_size)
        self._turns = Turns()
        self._stats_lock = threading.Lock()
        self._stats = ModelStats()
        self._spm = self._engine.architecture == "llama"
        self._add_start = self.info.metadata.get("tokenizer.ggml.add_bos_token", self._spm) is True
        self._add_end = self.info.metadata.get("tokenizer.ggml.add_eos_token") is True
        self.capabilities = Capabilities(
            chat=False,
            embeddings=self._engine.architecture in ("llama", "falcon") and self.info.format == "gguf",
            logprobs=True,
            token_ids=True,
        )
        self.effective = Effective(
            backend=NAME,
            engine_version=ENGINE_VERSION,
            device=request.device if gpu_layers else "cpu",
            gpu_layers=None if gpu_layers else 0,
            context_size=context_size,
            threads=request.threads,
            batch_size=batch_size,
            notes=_notes(request, context_size),
        )

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Give the tokens of `text`, with the start token the model wants if `add_special`."""
        self._check_open("tokenize")
        if not text:
            return [self._engine.start_token] if add_special and self._add_start else []
        tokens = self._engine.tokenize(text, add_start=add_special and self._add_start)
        if add_special and self._add_end:
            tokens.append(self._engine.end_token)
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Give the text of tokens; start and end tokens are left out."""
        self._check_open("tokenize")
        check_tokens(tokens, self._engine.vocabulary_size, NAME, "tokenize")
        decoder = Utf8Decoder()
        text = "".join(decoder.feed(self._engine.piece(token)) for token in tokens) + decoder.flush()
        # The tokenizer puts a space before the text, which is not part of it.
        return text[1:] if self._spm and text.startswith(" ") else text

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        params = params or GenerateParams()
        self._check_open("generate")
        refused = check_demands(params, self.capabilities, NAME)
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        check_tokens(tokens, self._engine.vocabulary_size, NAME, "generate")
        start = 1 if isinstance(prompt, str) and self._add_start else 0
        fitted, cut = fit_prompt(tokens, self.effective.context_size, params, NAME, start_tokens=start)
        stream = Stream(
            engine=self._engine,
            turns=self._turns,
            context_size=self.effective.context_size,
            prompt=fitted,
            params=params,
            cancel=cancel or CancelToken(),
            warnings=(*refused, *cut),
            random=random.Random(params.seed),  # noqa: S311  sampling, not secrets
        )
        return self._recorded(stream)

    def _recorded(self, stream: Stream) -> Iterator[Chunk]:
        try:
            yield from stream.chunks()
        finally:
            with self._stats_lock:
                self._stats = with_request(
                    self._stats,
                    prompt_tokens=stream.prompt_tokens,
                    completion_tokens=stream.completion_tokens,
                )

    def chat(
        self,
        messages: Sequence[Message],  # noqa: ARG002  the contract's
        params: GenerateParams | None = None,  # noqa: ARG002  the contract's
        *,
        cancel: CancelToken | None = None,  # noqa: ARG002  the contract's
    ) -> Iterator[Chunk]:
        """Refuse: the engine has no chat templates and can't read the special tokens they need."""
        raise CapabilityError(
            "ctransformers can't apply a chat template",
            capability="chat",
            backend=NAME,
            why="its tokenizer does not recognise the special tokens that chat templates are made of",
            advice="Use `modelplug run`, or another backend for chat, for example --backend llamacpp.",
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Give, for each text, the mean of its tokens' final hidden states, scaled to length 1."""
        if not self.capabilities.embeddings:
            return super().embed(texts)
        self._check_open("embed")
        return [self._embed_one(text) for text in texts]

    def _embed_one(self, text: str) -> list[float]:
        params = GenerateParams(max_tokens=1)
        tokens, _ = fit_prompt(self.tokenize(text), self.effective.context_size, params, NAME)
        holder = object()
        total: list[float] = []
        try:
            with self._turns.step(holder):
                self._check_open("embed")
                self._engine.forget()
                # The engine keeps the hidden state of the last token only, so they are taken one by one.
                for token in tokens:
                    self._engine.evaluate([token])
                    state = self._engine.embedding()
                    total = state if not total else [a + b for a, b in zip(total, state, strict=True)]
        finally:
            self._turns.finish(holder)
        length = math.sqrt(math.fsum(value * value for value in total)) or 1.0
        return [value / length for value in total]

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        with self._stats_lock:
            return self._stats

    def close(self) -> None:
        """Free the model, after the step that is under way."""
        holder = object()
        with self._turns.step(holder):
            self._engine.close()
        self._turns.finish(holder)

    def _check_open(self, phase: str) -> None:
        self._engine.check_open(phase)


def _engine_layers(request: LoadRequest) -> int:
    """Count layers as the engine does: output head, K cache and V cache are three more; -1 would be none."""
    if request.device == "cpu" or request.gpu_layers == 0:
        return 0
    if request.gpu_layers < 0:
        return (request.info.layers or 997) + 3
    return request.gpu_layers


def _notes(request: LoadRequest, context_size: int) -> tuple[str, ...]:
    if context_size < request.context_size:
        return (
            (
                f"The context holds {context_size} tokens and not {request.context_size}: "
                "this kind of model has a fixed context."
            ),
        )
    return ()
