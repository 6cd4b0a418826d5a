"""A model loaded by llama.cpp."""

from __future__ import annotations

import contextlib
import importlib.metadata
import secrets
import threading
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Any, TypeVar

import attrs
import xllamacpp

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
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, CapabilityError
from modelplug_llamacpp.binary import knows_architecture
from modelplug_llamacpp.completion import Completion, completion_body, refusal
from modelplug_llamacpp.direct import DirectCall
from modelplug_llamacpp.http import ServerConnection, ServerRefusedError
from modelplug_llamacpp.parameters import DEFAULT_BATCH_SIZE, context_per_request, native_parameters
from modelplug_llamacpp.probe import engine_devices
from modelplug_llamacpp.settings import LlamaCppSettings

__all__ = ["LlamaCppModel"]

NAME = "llamacpp"

R = TypeVar("R", ServerConnection, DirectCall)


def load_failure(request: LoadRequest, error: Exception) -> BackendError:
    """What llama.cpp's refusal means; its own exception is always the same."""
    architecture = request.info.architecture
    if architecture is not None and not knows_architecture(architecture):
        return BackendError(
            f"this version of llama.cpp does not know the architecture {architecture!r}",
            backend=NAME,
            phase="load",
            cause="unsupported",
            why=f"the name stands nowhere in xllamacpp {importlib.metadata.version('xllamacpp')}",
            advice="Update xllamacpp, or use another backend.",
        )
    return BackendError(
        "llama.cpp could not load the model",
        backend=NAME,
        phase="load",
        why=str(error),
        advice="The engine's last words say why; `modelplug inspect` shows what the file is.",
    )


class LlamaCppModel(Model):
    """A model served by llama.cpp in this process.

    Args:
        request: What to load.

    Raises:
        BackendError: llama.cpp refused the model; its own messages are on standard error.
    """

    def __init__(self, request: LoadRequest) -> None:
        settings = request.settings_as(LlamaCppSettings)
        self.info = request.info
        self._key = secrets.token_hex(16)
        devices = engine_devices()
        params = native_parameters(request, settings, devices, self._key)
        try:
            self._server: Any = xllamacpp.Server(params)
        except Exception as error:
            raise load_failure(request, error) from error
        self._address: str = self._server.listening_address.partition("//")[2]
        self._context_size = context_per_request(request, settings)
        self._batch_size = settings.batch_size or DEFAULT_BATCH_SIZE
        self._tally = ModelStats()
        self._lock = threading.Lock()
        self._open: set[ServerConnection | DirectCall] = set()
        self._await_loop()
        self.capabilities = Capabilities(
            chat=request.info.chat_template,
            embeddings=request.embeddings,
            grammar=True,
            logprobs=True,
            token_ids=True,
            parallel_requests=settings.parallel,
            parameters=frozenset(
                {"temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "stop", "max_tokens"}
            ),
        )
        self.effective = self._in_force(request, settings, devices)

    def _in_force(self, request: LoadRequest, settings: LlamaCppSettings, devices: list[str]) -> Effective:
        notes = []
        on_device = request.gpu_layers != 0 and request.device in devices
        if request.gpu_layers != 0 and not on_device:
            notes.append(
                f"{request.gpu_layers if request.gpu_layers > 0 else 'all'} layers were asked for on "
                f"{request.device}, but this build of llama.cpp can't use it: everything runs on the CPU."
            )
        layers = (self.info.layers or 0) + 1
        wanted = layers if request.gpu_layers < 0 else min(request.gpu_layers, layers)
        if settings.parallel > 1:
            notes.append(
                f"The context of {request.context_size} tokens is shared by {settings.parallel} requests."
            )
        return Effective(
            backend=NAME,
            engine_version=importlib.metadata.version("xllamacpp"),
            device=request.device if on_device else "cpu",
            gpu_layers=wanted if on_device else 0,
            context_size=self._context_size,
            threads=request.threads,
            batch_size=self._batch_size,
            notes=tuple(notes),
        )

    def _await_loop(self) -> None:
        # The server is handed out before its loop runs, and one that is told to end before it has begun
        # never ends. An answer that only the loop can give shows that it runs.
        with self._connected() as connection:
            connection.get("/slots")

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
        warnings = check_demands(params, self.capabilities, NAME)
        wanted: str | list[int] = prompt if isinstance(prompt, str) else self._checked(prompt, "generate")
        if params.overflow == "truncate" or not prompt:
            tokens = self.tokenize(wanted) if isinstance(wanted, str) else wanted
            starts = int(bool(tokens) and tokens[:1] == self.tokenize("")[:1])
            wanted, more = fit_prompt(tokens, self._context_size, params, NAME, start_tokens=starts)
            warnings += more
        return self._complete(wanted, params, cancel or CancelToken(), warnings)

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
        with self._connected() as connection:
            answer = connection.post("/apply-template", {"messages": [attrs.asdict(m) for m in messages]})
        yield from self.generate(answer["prompt"], params, cancel=cancel)

    def _complete(
        self,
        prompt: str | list[int],
        params: GenerateParams,
        cancel: CancelToken,
        warnings: tuple[str, ...],
    ) -> Iterator[Chunk]:
        completion = Completion(params, warnings, lambda text: self.tokenize(text, add_special=False))
        with self._way(prompt, params) as connection:
            cancel.on_cancel(connection.abort)
            try:
                for event in connection.complete(completion_body(prompt, params)):
                    chunk = completion.take(event)
                    if chunk is not None and chunk.finish_reason is not None:
                        # After a stop string the server would go on.
                        connection.abort()
                        yield self._counted(chunk)
                        return
                    if chunk is not None:
                        yield chunk
            except ServerRefusedError as error:
                raise refusal(error, self._context_size) from error
            except (OSError, ValueError, AttributeError, HTTPException) as error:
                # http.client answers a connection shut down under its feet in several ways.
                if not cancel.cancelled:
                    raise BackendError(
                        "llama.cpp's server broke off",
                        backend=NAME,
                        phase="generate",
                        why=str(error),
                        advice="Try again; `modelplug --debug` shows the engine's own messages.",
                    ) from error
        if not cancel.cancelled:
            raise BackendError(
                "llama.cpp ended the answer without saying why",
                backend=NAME,
                phase="generate",
                advice="Try again; `modelplug --debug` shows the engine's own messages.",
            )
        yield self._counted(completion.cancelled())

    @contextlib.contextmanager
    def _way(
        self, prompt: str | list[int], params: GenerateParams
    ) -> Iterator[ServerConnection | DirectCall]:
        """The faster way to the engine where it can do what is asked, and otherwise HTTP."""
        # A token has at least one byte, so a text has no more tokens than bytes.
        length = len(prompt.encode()) if isinstance(prompt, str) else len(prompt)
        if length < self._batch_size and not (params.return_tokens or params.logprobs or params.grammar):
            with self._opened(DirectCall(self._alive())) as call:
                yield call
        else:
            with self._connected() as connection:
                yield connection

    def _counted(self, chunk: Chunk) -> Chunk:
        assert chunk.stats is not None
        with self._lock:
            self._tally = with_request(
                self._tally,
                prompt_tokens=chunk.stats.prompt_tokens,
                completion_tokens=chunk.stats.completion_tokens,
            )
        return chunk

    # The rest ---------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`; special tokens written out in it are recognised."""
        with self._connected() as connection:
            answer = connection.post(
                "/tokenize", {"content": text, "add_special": add_special, "parse_special": True}
            )
        tokens: list[int] = answer["tokens"]
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        if not tokens:
            return ""
        tokens = self._checked(tokens, "tokenize")
        # The server writes special tokens out; leave the start token, which tokenize adds, to the caller.
        start = self.tokenize("")
        rest = list(tokens[len(start) :] if start and list(tokens[: len(start)]) == start else tokens)
        with self._connected() as connection:
            text: str = connection.post("/detokenize", {"tokens": rest})["content"]
        # SentencePiece vocabularies put a space before the first word.
        return text[1:] if text.startswith(" ") and self.info.tokenizer == "llama" and start else text

    def _checked(self, tokens: Sequence[int], phase: str) -> list[int]:
        # The server takes numbers beyond 32 bits for other ones.
        check_tokens(tokens, self.info.vocabulary_size or 1 << 31, NAME, phase)
        return list(tokens)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, normalised to unit length by the engine."""
        if not self.capabilities.embeddings:
            return super().embed(texts)
        if not texts:
            return []
        with self._connected() as connection:
            try:
                answer = connection.post("/v1/embeddings", {"input": list(texts), "encoding_format": "float"})
            except ServerRefusedError as error:
                raise refusal(error, self._context_size, phase="embed") from error
        rows = sorted(answer["data"], key=lambda row: row["index"])
        return [row["embedding"] for row in rows]

    @property
    def stats(self) -> ModelStats:
        """What it has done so far."""
        with self._lock:
            return self._tally

    def close(self) -> None:
        """Stop the server and free the model."""
        with self._lock:
            connections, self._open = list(self._open), set()
        for connection in connections:
            connection.abort()
        # The server ends when its last reference goes.
        self._server = None

    def _alive(self) -> Any:
        server = self._server
        if server is None:
            raise BackendError(
                "the model has been closed",
                backend=NAME,
                phase="generate",
                cause="closed",
                advice="Load it again.",
            )
        return server

    @contextlib.contextmanager
    def _connected(self) -> Iterator[ServerConnection]:
        self._alive()
        with self._opened(ServerConnection(self._address, self._key)) as connection:
            yield connection

    @contextlib.contextmanager
    def _opened(self, request: R) -> Iterator[R]:
        """Keep a request where `close` finds it."""
        with self._lock:
            self._open.add(request)
        try:
            yield request
        finally:
            with self._lock:
                self._open.discard(request)
            request.close()
