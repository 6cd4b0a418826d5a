"""A model that runs in a worker process, as its host sees it."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelplug.backends.model import CancelToken, Chunk, GenerateParams, Message, Model, ModelStats
from modelplug.backends.process import Reply, WorkerProcess
from modelplug.backends.types import LoadRequest
from modelplug.backends.wire import (
    chunk_from_wire,
    loaded_from_wire,
    params_to_wire,
    request_to_wire,
    stats_from_wire,
)
from modelplug.errors import BackendError, GenerationCancelledError

__all__ = ["WorkerModel"]


class WorkerModel(Model):
    """Loads a model in a worker process and passes every request on to it.

    Args:
        request: What to load.
        plugin: Entry-point name of the plugin that loads it.
        cancel: Stops loading when set.

    Raises:
        ModelplugError: Loading failed; the worker has ended.
    """

    def __init__(self, request: LoadRequest, plugin: str, *, cancel: CancelToken | None = None) -> None:
        self.info = request.info
        self._request = request
        self._process = WorkerProcess(request.backend, request.deadlines, request.scratch)
        # For a host that ends without closing its models; the worker would also notice by itself.
        self._last_resort = weakref.finalize(self, _abandon, self._process, request.scratch)
        message = {"op": "load", "plugin": plugin, "request": request_to_wire(request)}
        loading = threading.Event()
        loading.set()
        if cancel is not None:
            # The token may be set long after; by then it has nothing to stop.
            cancel.on_cancel(lambda: self._process.kill() if loading.is_set() else None)
        try:
            answer = self._process.call(message, "load", request.deadlines.load)
        except BaseException as error:
            # Not politely: a worker that is still loading, or that Ctrl-C is to stop, would not listen.
            self._process.kill()
            self.close()
            if cancel is not None and cancel.cancelled and isinstance(error, BackendError):
                raise GenerationCancelledError(
                    "loading was cancelled", backend=request.backend, phase="load"
                ) from error
            raise
        finally:
            loading.clear()
        self.capabilities, self.effective = loaded_from_wire(answer)

    @property
    def process(self) -> WorkerProcess:
        """The worker."""
        return self._process

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        wanted = prompt if isinstance(prompt, str) else list(prompt)
        return self._stream({"op": "generate", "prompt": wanted}, params, cancel)

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn."""
        turns = [[message.role, message.content] for message in messages]
        return self._stream({"op": "generate", "messages": turns}, params, cancel)

    def _stream(
        self, message: dict[str, Any], params: GenerateParams | None, cancel: CancelToken | None
    ) -> Iterator[Chunk]:
        reply = self._process.send({**message, "params": params_to_wire(params or GenerateParams())})
        if cancel is not None:
            cancel.on_cancel(lambda: self._process.cancel(reply.number))
        finished = False
        phase = "first-token"
        try:
            while True:
                answer = self._process.wait(reply, phase, self._request.deadlines.first_token)
                if answer["op"] == "result":
                    finished = True
                    return
                phase = "generate"
                for plain in answer["chunks"]:
                    yield chunk_from_wire(plain)
        finally:
            if not finished:
                self._abandon(reply)
            self._process.forget(reply)

    def _abandon(self, reply: Reply) -> None:
        # The consumer has left, or the worker has: in the first case the engine must not go on for nobody.
        if self._process.alive:
            self._process.cancel(reply.number)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`."""
        message = {"op": "tokenize", "text": text, "add_special": add_special}
        tokens: list[int] = self._call(message, "tokenize")
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        text: str = self._call({"op": "detokenize", "tokens": list(tokens)}, "tokenize")
        return text

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        vectors: list[list[float]] = self._call({"op": "embed", "texts": list(texts)}, "embed")
        return vectors

    @property
    def stats(self) -> ModelStats:
        """What it has used and done so far, memory as measured from outside."""
        stats = stats_from_wire(self._call({"op": "stats"}, "generate"))
        return attrs.evolve(stats, resident_bytes=self._process.resident_bytes())

    def _call(self, message: dict[str, Any], phase: str) -> Any:
        return self._process.call(message, phase, self._request.deadlines.first_token)

    def close(self) -> None:
        """End the worker and remove its scratch directory."""
        self._process.close()
        self._last_resort.detach()
        # A forked copy of the host must not take away what the worker still uses.
        if self._request.scratch is not None and self._process.spawned.ours:
            shutil.rmtree(self._request.scratch, ignore_errors=True)


def _abandon(process: WorkerProcess, scratch: Path | None) -> None:
    process.abandon()
    if scratch is not None and process.spawned.ours:
        shutil.rmtree(scratch, ignore_errors=True)
