"""A model loaded with transformers."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import attrs

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
from modelplug.backends.streaming import check_demands, fit_prompt
from modelplug.errors import BackendError, CapabilityError
from modelplug_transformers.context import Context
from modelplug_transformers.limits import NAME, check_model
from modelplug_transformers.loading import Loaded, load, translated_errors
from modelplug_transformers.settings import DEFAULT_BATCH, TransformersSettings
from modelplug_transformers.stream import Stream
from modelplug_transformers.text import decode
from modelplug_transformers.tokens import context_limit, end_tokens, own_start_tokens, start_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.backends.types import LoadRequest

__all__ = ["TransformersModel"]

PARAMETERS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop", "max_tokens"}
)


class TransformersModel(Model):
    """A model in transformers.

    Args:
        request: What to load and how.

    Raises:
        BackendError: The engine can't run this model.
    """

    def __init__(self, request: LoadRequest) -> None:
        settings = request.settings_as(TransformersSettings)
        check_model(request.info, trust_remote_code=settings.trust_remote_code)
        self.info = request.info
        self._loaded: Loaded | None = load(request, settings)
        # One number for the whole process, as torch has it; a worker has one model.
        self._loaded.torch.set_num_threads(max(1, request.threads))
        self._block = settings.batch_size or DEFAULT_BATCH
        self._step_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._idle: Context | None = None
        self._stats = ModelStats()
        self._start = start_tokens(self._loaded.tokenizer, request.info)
        self._tokenizer_adds_start = own_start_tokens(self._loaded.tokenizer) == self._start
        self._ends = end_tokens(self._loaded.model, self._loaded.tokenizer, request.info)
        self.capabilities = Capabilities(
            chat=bool(getattr(self._loaded.tokenizer, "chat_template", None)),
            embeddings=True,
            logprobs=True,
            token_ids=True,
            parameters=PARAMETERS,
        )
        limit = context_limit(self._loaded.model.config)
        notes = list(self._loaded.notes)
        if limit is not None and limit < request.context_size:
            notes.append(
                f"The context holds {limit} tokens and not {request.context_size}: the model ends there."
            )
        device = request.device if self._loaded.device.type != "cpu" else "cpu"
        self.effective = Effective(
            backend=NAME,
            engine_version=self._loaded.engine_version,
            device=device,
            gpu_layers=0 if device == "cpu" else request.info.layers,
            context_size=min(request.context_size, limit or request.context_size),
            threads=request.threads,
            batch_size=self._block,
            notes=tuple(notes),
        )

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Give the tokens of `text`, with the start token the model wants if `add_special`."""
        tokenizer = self._open("tokenize").tokenizer
        with translated_errors("tokenize", "transformers could not tokenize the text"):
            if add_special and not self._tokenizer_adds_start:
                return [*self._start, *tokenizer.encode(text, add_special_tokens=False)]
            return [int(token) for token in tokenizer.encode(text, add_special_tokens=add_special)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Give the text of tokens; special tokens are left out."""
        loaded = self._open("tokenize")
        self._check_tokens(tokens, "tokenize")
        with translated_errors("tokenize", "transformers could not give the tokens' text"):
            return decode(loaded.tokenizer, tokens)

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        start = len(self._start) if isinstance(prompt, str) else 0
        return self._generate(tokens, params or GenerateParams(), cancel or CancelToken(), start)

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn, formatted by the model's own chat template."""
        tokenizer = self._open("generate").tokenizer
        if not self.capabilities.chat:
            raise CapabilityError(
                f"{self.info.path.name} has no chat template",
                capability="chat",
                backend=NAME,
                why="its files say nothing about how a conversation is written",
                advice="Use `modelplug run` with a prompt that you format yourself.",
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        with translated_errors("generate", "the model's chat template refused the conversation"):
            text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            tokens = [int(token) for token in tokenizer.encode(text, add_special_tokens=False)]
        # Templates write the start token themselves or leave it to the tokenizer; once is what models know.
        if self._start and tokens[: len(self._start)] != self._start:
            tokens = [*self._start, *tokens]
        return self._generate(tokens, params or GenerateParams(), cancel or CancelToken(), len(self._start))

    def _generate(
        self, tokens: list[int], params: GenerateParams, cancel: CancelToken, start: int
    ) -> Iterator[Chunk]:
        self._open("generate")
        refused = check_demands(params, self.capabilities, NAME)
        self._check_tokens(tokens, "generate")
        fitted, cut = fit_prompt(tokens, self.effective.context_size, params, NAME, start_tokens=start)
        return self._run(fitted, params, cancel, (*refused, *cut))

    def _run(
        self, tokens: list[int], params: GenerateParams, cancel: CancelToken, warnings: tuple[str, ...]
    ) -> Iterator[Chunk]:
        loaded = self._open("generate")
        with self._state_lock:
            context, self._idle = self._idle, None
        if context is None:
            context = Context(loaded.torch, loaded.model, loaded.device, self._block)
        stream = Stream(
            torch=loaded.torch,
            tokenizer=loaded.tokenizer,
            context=context,
            step_lock=self._step_lock,
            context_size=self.effective.context_size,
            end_tokens=self._ends,
            prompt=tokens,
            params=params,
            cancel=cancel,
            warnings=warnings,
        )
        intact = False
        try:
            for chunk in stream.chunks():
                yield chunk
                self._open("generate")
            intact = True
        except GeneratorExit:
            intact = True
            raise
        finally:
            with self._state_lock:
                # After a failure nobody knows what the engine's state holds.
                self._idle = context if intact and self._loaded is not None else None
                self._stats = with_request(
                    self._stats,
                    prompt_tokens=stream.prompt_tokens,
                    completion_tokens=stream.completion_tokens,
                )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Give, for each text, the mean of its tokens' final hidden states, scaled to length 1."""
        loaded = self._open("embed")
        return [self._embed_one(loaded, text) for text in texts]

    def _embed_one(self, loaded: Loaded, text: str) -> list[float]:
        torch = loaded.torch
        params = GenerateParams(max_tokens=1)
        tokens, _ = fit_prompt(self.tokenize(text), self.effective.context_size, params, NAME)
        with translated_errors("embed", "transformers could not embed the text"), self._step_lock:
            with torch.inference_mode():
                given = torch.tensor([tokens], device=loaded.device)
                states = loaded.model.base_model(input_ids=given, use_cache=False).last_hidden_state[0]
                mean = states.to(torch.float32).mean(dim=0)
                vector = torch.nn.functional.normalize(mean, dim=0)
            return [float(value) for value in vector.cpu()]

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        with self._state_lock:
            stats, loaded = self._stats, self._loaded
        if loaded is not None and loaded.device.type == "cuda":
            held = int(loaded.torch.cuda.memory_reserved(loaded.device))
            return attrs.evolve(stats, device_bytes=held)
        return stats

    def close(self) -> None:
        """Free the model, after the step that is under way."""
        with self._step_lock, self._state_lock:
            loaded, self._loaded, self._idle = self._loaded, None, None
        if loaded is None:
            return
        torch, on_gpu = loaded.torch, loaded.device.type == "cuda"
        del loaded
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()

    def _open(self, phase: str) -> Loaded:
        loaded = self._loaded
        if loaded is None:
            raise BackendError(
                "the model is closed", backend=NAME, phase=phase, cause="closed", advice="Load it again."
            )
        return loaded

    def _check_tokens(self, tokens: Sequence[int], phase: str) -> None:
        """Refuse token ids beyond the vocabulary, on which a GPU would fail for good."""
        size = int(self._open(phase).model.get_input_embeddings().weight.shape[0])
        check_tokens(tokens, size, NAME, phase)
