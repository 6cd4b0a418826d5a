"""A ResNet-BK model behind modelplug's interface."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

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
from modelplug.errors import CapabilityError
from resnet_bk._version import __version__
from resnet_bk.backend import NAME
from resnet_bk.backend.errors import closed, translated
from resnet_bk.backend.loading import Loaded, load
from resnet_bk.backend.settings import DEFAULT_BATCH, ResNetBKSettings

if TYPE_CHECKING:
    from modelplug.backends.types import LoadRequest
    from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["ResNetBKEngineModel"]

_PARAMETERS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop", "max_tokens"}
)


class ResNetBKEngineModel(Model):
    """A ResNet-BK model of the 1.0 format, with its tokenizer.

    Args:
        request: What to load and how.

    Raises:
        BackendError: It can't be loaded.
    """

    def __init__(self, request: LoadRequest) -> None:
        settings = request.settings_as(ResNetBKSettings)
        self.info = request.info
        loaded = load(request, settings)
        import torch

        from resnet_bk.backend.context import PrefixStates
        from resnet_bk.backend.threads import Threads

        # One number for the whole process, as torch has it; a worker has one model.
        torch.set_num_threads(max(1, request.threads))
        self._threads = Threads(request.threads, loaded.model.parameter_count())
        self._loaded: Loaded | None = loaded
        self._states = PrefixStates(settings.batch_size or DEFAULT_BATCH)
        self._start = loaded.tokenizer.encode("", add_special_tokens=True).ids
        self._ends = _end_tokens(loaded.model)
        self._step_lock = threading.Lock()
        self._tally_lock = threading.Lock()
        self._stats = ModelStats()
        self.capabilities = Capabilities(
            chat=loaded.template is not None,
            embeddings=True,
            logprobs=True,
            token_ids=True,
            parameters=_PARAMETERS,
        )
        self.effective = _effective(request, loaded.model, self._states.block)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The tokens of `text`, with the start token the model wants if `add_special`."""
        tokenizer = self._open("tokenize").tokenizer
        with translated("tokenize", "the text could not be tokenized"):
            return list(tokenizer.encode(text, add_special_tokens=add_special).ids)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special tokens are left out."""
        from resnet_bk.backend.text import decode

        tokenizer = self._open("tokenize").tokenizer
        self._check(tokens, "tokenize")
        return decode(tokenizer, tokens)

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        self._open("generate")
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        start = len(self._start) if isinstance(prompt, str) else 0
        return self._generate(tokens, start, params or GenerateParams(), cancel)

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn, in the form that the model's own chat template gives it."""
        template = self._open("generate").template
        if template is None:
            raise CapabilityError(
                f"{self.info.path.name} has no chat template",
                capability="chat",
                backend=NAME,
                why="its files say nothing about how a conversation is written",
                advice="Use `modelplug run` with a prompt that you format yourself.",
            )
        tokens = self.tokenize(template.write(messages), add_special=False)
        # Templates write the start token themselves or leave it to the tokenizer; once is what models know.
        if self._start and tokens[: len(self._start)] != self._start:
            tokens = [*self._start, *tokens]
        return self._generate(tokens, len(self._start), params or GenerateParams(), cancel)

    def _generate(
        self, tokens: list[int], start: int, params: GenerateParams, cancel: CancelToken | None
    ) -> Iterator[Chunk]:
        refused = check_demands(params, self.capabilities, NAME)
        self._check(tokens, "generate")
        fitted, cut = fit_prompt(tokens, self.effective.context_size, params, NAME, start_tokens=start)
        return self._run(fitted, params, cancel or CancelToken(), (*refused, *cut))

    def _run(
        self, tokens: list[int], params: GenerateParams, cancel: CancelToken, warnings: tuple[str, ...]
    ) -> Iterator[Chunk]:
        from resnet_bk.backend.context import RecurrentContext, WholeContext
        from resnet_bk.backend.stream import Stream

        loaded = self._open("generate")
        model = loaded.model
        if model.config.is_causal:
            context: Any = RecurrentContext(model, self._states, self._threads)
        else:
            context = WholeContext(model, self._threads)
        stream = Stream(
            tokenizer=loaded.tokenizer,
            context=context,
            step_lock=self._step_lock,
            context_size=self.effective.context_size,
            ends=self._ends,
            prompt=tokens,
            params=params,
            cancel=cancel,
            warnings=warnings,
        )
        try:
            for chunk in stream.chunks():
                yield chunk
                self._open("generate")
        finally:
            with self._tally_lock:
                self._stats = with_request(
                    self._stats,
                    prompt_tokens=stream.prompt_tokens,
                    completion_tokens=stream.completion_tokens,
                )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """For each text the mean of its tokens' last hidden states, scaled to length 1."""
        return [self._embed_one(text) for text in texts]

    def _embed_one(self, text: str) -> list[float]:
        import torch

        model = self._open("embed").model
        tokens, _ = fit_prompt(
            self.tokenize(text), self.effective.context_size, GenerateParams(max_tokens=1), NAME
        )
        with translated("embed", "the text could not be embedded"), self._step_lock, torch.inference_mode():
            given = torch.tensor([tokens], device=model.device)
            with self._threads.computing(len(tokens)):
                hidden = model.model(given, use_cache=False).last_hidden_state
            vector = torch.nn.functional.normalize(hidden[0].float().mean(0), dim=0)
            return [float(value) for value in vector.cpu()]

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        with self._tally_lock:
            stats, loaded = self._stats, self._loaded
        if loaded is not None and loaded.model.device.type == "cuda":
            import torch

            return attrs.evolve(stats, device_bytes=int(torch.cuda.memory_reserved(loaded.model.device)))
        return stats

    def close(self) -> None:
        """Free the model, after the step that is under way."""
        with self._step_lock, self._tally_lock:
            loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        on_gpu = loaded.model.device.type == "cuda"
        del loaded
        gc.collect()
        if on_gpu:
            import torch

            torch.cuda.empty_cache()

    def _open(self, phase: str) -> Loaded:
        loaded = self._loaded
        if loaded is None:
            raise closed(phase)
        return loaded

    def _check(self, tokens: Sequence[int], phase: str) -> None:
        check_tokens(tokens, self._open(phase).model.config.vocab_size, NAME, phase)


def _end_tokens(model: ResNetBKForCausalLM) -> frozenset[int]:
    """Every token that the model's files name as ending a text."""
    ends: set[int] = set()
    for source in (model.generation_config, model.config):
        stated = source.eos_token_id
        ends.update(stated if isinstance(stated, (list, tuple)) else [] if stated is None else [stated])
    return frozenset(ends)


def _effective(request: LoadRequest, model: ResNetBKForCausalLM, block: int) -> Effective:
    """What is in force, and in what it differs from what was asked for."""
    config, notes = model.config, []
    size = request.context_size
    if config.position_embeddings and config.n_seq < size:
        size = config.n_seq
        notes.append(f"The context holds {size} tokens and not {request.context_size}: the model ends there.")
    if not config.is_causal:
        notes.append(
            "This model is of a version before 1.0 and was trained seeing the future; it keeps no state, so "
            "the whole text is computed again for every token."
        )
    on_cpu = model.device.type == "cpu"
    return Effective(
        backend=NAME,
        engine_version=__version__,
        device="cpu" if on_cpu else request.device,
        gpu_layers=0 if on_cpu else request.info.layers,
        context_size=size,
        threads=request.threads,
        batch_size=block,
        notes=tuple(notes),
    )
