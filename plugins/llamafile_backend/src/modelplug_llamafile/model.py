"""A model served by a llamafile program."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.model import (
    CancelToken,
    Chunk,
    Effective,
    GenerateParams,
    Message,
    Model,
    ModelStats,
)
from modelplug.backends.requests import check_tokens, with_request
from modelplug.backends.streaming import check_demands, fit_prompt, room_for_output
from modelplug.errors import BackendError, CapabilityError, ContextOverflowError
from modelplug_llamafile.failures import closed, refused, request_failed
from modelplug_llamafile.generation import Generation
from modelplug_llamafile.http import HttpStatusError, StreamBrokenError
from modelplug_llamafile.vocabulary import control_tokens, start_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.backends.types import Deadlines
    from modelplug.formats.model_info import ModelInfo
    from modelplug_llamafile.http import EventStream
    from modelplug_llamafile.server import RunningServer

__all__ = ["LlamafileModel"]

NAME = "llamafile"


class LlamafileModel(Model):
    """A model served by a llamafile program on a loopback port.

    Args:
        info: What inspection found.
        server: The running server.
        effective: What is in force.
        embeddings: Whether it was loaded for `embed`.
        deadlines: How long requests may be silent.
    """

    def __init__(
        self,
        info: ModelInfo,
        server: RunningServer,
        effective: Effective,
        *,
        embeddings: bool,
        deadlines: Deadlines,
    ) -> None:
        self.info = info
        self.effective = effective
        self.capabilities = server.dialect.capabilities(chat=info.chat_template, embeddings=embeddings)
        self._server = server
        self._deadlines = deadlines
        self._lock = threading.Lock()
        self._streams: set[EventStream] = set()
        self._closed = False
        self._tally = ModelStats()
        self._start = start_token(info)
        self._control: frozenset[int] | None = None

    # Generating -------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        params = params or GenerateParams()
        warnings = check_demands(self._server.dialect.asked(params), self.capabilities, NAME)
        context = self.effective.context_size
        if self._server.dialect.token_prompts:
            tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
            check_tokens(tokens, self.info.vocabulary_size, NAME, "generate")
            starts = int(self._start is not None and tokens[:1] == [self._start])
            fitted, more = fit_prompt(tokens, context, params, NAME, start_tokens=starts)
            count, sent = len(fitted), fitted
        else:
            count, sent, more = self._fit_text(prompt, params)
        limit = room_for_output(count, context, params)
        body = self._server.dialect.body(sent, params, limit)
        return self._run(
            self._server.dialect.completion, body, params, cancel or CancelToken(), count, warnings + more
        )

    def _fit_text(
        self, prompt: str | Sequence[int], params: GenerateParams
    ) -> tuple[int, Any, tuple[str, ...]]:
        """The same for a server that takes text only: pieces of text stand for tokens."""
        if not isinstance(prompt, str):
            raise CapabilityError(
                "this llamafile server takes prompts as text only",
                capability="tokenize",
                backend=NAME,
                why="its second server has no token ids",
                advice="Give the prompt as text, or set backends.llamafile.server to v1.",
            )
        pieces = self._pieces(prompt)
        start = int(self._start is not None)
        kept, warnings = fit_prompt(
            range(len(pieces) + start), self.effective.context_size, params, NAME, start_tokens=start
        )
        text = "".join(pieces[index - start] for index in kept if index >= start) if warnings else prompt
        return len(kept), text, warnings

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn, with the template from the model file."""
        if not self.capabilities.chat:
            raise CapabilityError(
                "the model has no chat template",
                capability="chat",
                backend=NAME,
                why="its file holds no `tokenizer.chat_template`",
                advice="Use `modelplug run` with a prompt in the form the model was trained on.",
            )
        if self._server.dialect.templates:
            plain = [{"role": m.role, "content": m.content} for m in messages]
            answer = self._ask("/apply-template", {"messages": plain}, "generate")
            return self.generate(str(answer["prompt"]), params, cancel=cancel)
        params = params or GenerateParams()
        warnings = check_demands(self._server.dialect.asked(params), self.capabilities, NAME)
        # The template's own tokens are the server's secret: what is sure to be too long is refused here.
        count = sum(len(self._pieces(message.content)) for message in messages)
        if count >= self.effective.context_size:
            raise ContextOverflowError(
                f"the conversation has over {count} tokens, but the context holds "
                f"{self.effective.context_size}",
                prompt_tokens=count,
                context_size=self.effective.context_size,
                backend=NAME,
                why="this llamafile formats conversations itself, so that they can't be shortened for it",
                advice="Leave out older messages, or load the model with a larger context, up to its own.",
            )
        limit = room_for_output(count, self.effective.context_size, params)
        body = self._server.dialect.chat_body(messages, params, limit)
        return self._run("/v1/chat/completions", body, params, cancel or CancelToken(), count, warnings)

    def _run(
        self,
        path: str,
        body: dict[str, Any],
        params: GenerateParams,
        cancel: CancelToken,
        prompt_tokens: int,
        warnings: tuple[str, ...],
    ) -> Iterator[Chunk]:
        generation = Generation(
            self._server,
            params,
            prompt_tokens,
            warnings,
            context_size=self.effective.context_size,
            deadlines=self._deadlines,
        )
        with self._streaming(path, body, generation) as stream:
            cancel.on_cancel(stream.abort)
            try:
                for chunk in generation.chunks(stream, cancel):
                    # A fast server may have sent the whole answer before it was stopped.
                    if self._closed:
                        raise closed("generate")
                    if chunk.stats is not None:
                        self._count(chunk)
                    yield chunk
            except BackendError as error:
                if self._closed and error.cause != "closed":
                    raise closed("generate") from error
                raise

    @contextlib.contextmanager
    def _streaming(self, path: str, body: dict[str, Any], generation: Generation) -> Iterator[EventStream]:
        with self._lock:
            if self._closed:
                raise closed("generate")
        try:
            stream = self._server.client.open_stream(path, body, timeout=self._deadlines.first_token)
        except OSError as error:
            if self._closed:
                raise closed("generate") from error
            raise generation.failure(error) from error
        with self._lock:
            self._streams.add(stream)
        try:
            yield stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _count(self, chunk: Chunk) -> None:
        assert chunk.stats is not None
        with self._lock:
            self._tally = with_request(
                self._tally,
                prompt_tokens=chunk.stats.prompt_tokens,
                completion_tokens=chunk.stats.completion_tokens,
            )

    # Tokens and vectors -----------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`; special tokens written out in it are recognised."""
        self._need_tokens()
        dialect = self._server.dialect
        found = self._ask("/tokenize", dialect.tokenize_body(text, add_special=add_special), "tokenize")
        tokens = [int(token) for token in found["tokens"]]
        # Older servers never add the start token here, whatever they are asked.
        if add_special and self._start is not None and tokens[:1] != [self._start]:
            tokens.insert(0, self._start)
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids; special tokens are left out."""
        self._need_tokens()
        if self._control is None:
            self._control = control_tokens(self.info)
        check_tokens(tokens, self.info.vocabulary_size, NAME, "tokenize")
        plain = [token for token in tokens if token not in self._control]
        if not plain:
            return ""
        text = str(self._ask("/detokenize", {"tokens": plain}, "tokenize")["content"])
        # SentencePiece vocabularies put a space before the first word of a text.
        began = self._start is not None and list(tokens[:1]) == [self._start]
        return text[1:] if began and self.info.tokenizer == "llama" and text.startswith(" ") else text

    def _need_tokens(self) -> None:
        if not self.capabilities.tokenize:
            raise CapabilityError(
                "this llamafile server gives no token ids",
                capability="tokenize",
                backend=NAME,
                phase="tokenize",
                why="its second server only gives pieces of text",
                advice="Set backends.llamafile.server to v1.",
            )

    def _pieces(self, text: str) -> list[Any]:
        dialect = self._server.dialect
        found = self._ask("/tokenize", dialect.tokenize_body(text, add_special=False), "tokenize")
        return list(found["tokens"])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of unit length per text."""
        if not self.capabilities.embeddings:
            return super().embed(texts)
        return [_unit(self._vector(text)) for text in texts]

    def _vector(self, text: str) -> list[float]:
        path, body = self._server.dialect.embedding_body(text)
        found: Any = self._ask(path, body, "embed")
        # An object in older servers, a list of one in newer ones; the vector itself may be in a list too.
        row = found[0] if isinstance(found, list) else found
        vector = row["embedding"] if isinstance(row, dict) else []
        if vector and isinstance(vector[0], list):
            vector = vector[0]
        return [float(value) for value in vector]

    def _ask(self, path: str, body: dict[str, Any], phase: str) -> Any:
        with self._lock:
            if self._closed:
                raise closed(phase)
        try:
            return self._server.client.ask("POST", path, body, timeout=self._deadlines.first_token)
        except HttpStatusError as error:
            raise refused(error, phase, self.effective.context_size, self._server) from error
        except (OSError, StreamBrokenError) as error:
            if self._closed:
                raise closed(phase) from error
            raise request_failed(error, phase, self._server, self._deadlines) from error

    # The rest ---------------------------------------------------------------------------------------

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far."""
        with self._lock:
            tally = self._tally
        return attrs.evolve(tally, resident_bytes=None if self._closed else _resident(self._server))

    def close(self) -> None:
        """Stop the server's whole tree; requests still running end with an error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.abort()
        self._server.process.stop()


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:
        raise BackendError(
            "llamafile gave an empty embedding",
            backend=NAME,
            phase="embed",
            why="every element of it is zero",
            advice="Use a model that is made for embeddings.",
        )
    return [value / length for value in vector]


def _resident(server: RunningServer) -> int | None:
    import psutil

    try:
        root = psutil.Process(server.process.pid)
        return sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))
    except psutil.Error:
        return None
