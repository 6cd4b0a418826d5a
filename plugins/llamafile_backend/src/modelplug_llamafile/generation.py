"""One request: from the server's events to chunks and statistics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modelplug.backends.model import GenerationStats
from modelplug.backends.streaming import ChunkBuilder
from modelplug_llamafile.dialects import Event
from modelplug_llamafile.failures import refused, request_failed
from modelplug_llamafile.http import HttpStatusError, StreamBrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.backends.model import CancelToken, Chunk, GenerateParams
    from modelplug.backends.types import Deadlines
    from modelplug.errors import BackendError
    from modelplug_llamafile.http import EventStream
    from modelplug_llamafile.server import RunningServer

__all__ = ["Generation"]


class Generation:
    """The state of one request.

    Args:
        server: Where it runs.
        params: How to generate.
        prompt_tokens: Tokens of the prompt, as far as is known before the server says.
        warnings: What could not be honoured.
        context_size: Tokens the context holds, for messages.
        deadlines: For messages.
    """

    def __init__(
        self,
        server: RunningServer,
        params: GenerateParams,
        prompt_tokens: int,
        warnings: tuple[str, ...],
        *,
        context_size: int,
        deadlines: Deadlines,
    ) -> None:
        self._server = server
        self._params = params
        self._prompt_tokens = prompt_tokens
        self._warnings = warnings
        self._context_size = context_size
        self._deadlines = deadlines
        self._builder = ChunkBuilder(params)
        self._generated = 0
        self._began = time.perf_counter()
        self._first: float | None = None

    def chunks(self, stream: EventStream, cancel: CancelToken) -> Iterator[Chunk]:
        """The chunks of the request; the last one has statistics.

        Args:
            stream: The server's answer.
            cancel: Ends it early.

        Raises:
            BackendError: The server refused, broke off or died.
        """
        try:
            for data in () if cancel.cancelled else stream:
                # What a fast server has sent ahead is not output any more.
                if cancel.cancelled:
                    break
                event = self._server.dialect.event(data)
                yield from self._take(event)
                if event.finish is not None or self._builder.stopped:
                    yield self._last(event, event.finish or "stop")
                    return
        except HttpStatusError as error:
            raise refused(error, "generate", self._context_size, self._server) from error
        except (OSError, StreamBrokenError, ValueError, AttributeError) as error:
            # A connection that was cut under its feet makes http.client fail in several ways.
            if not cancel.cancelled:
                raise self.failure(error) from error
        if not cancel.cancelled:
            raise self.failure(StreamBrokenError("it closed the connection before the end of its answer"))
        yield self._last(Event(), "cancelled")

    def _take(self, event: Event) -> Iterator[Chunk]:
        has_output = bool(event.text or event.tokens)
        if has_output and self._first is None:
            self._first = time.perf_counter() - self._began
        before = self._generated
        self._generated = event.count if event.count is not None else before + has_output
        if event.finish is not None and not event.text:
            return
        ids = self._complete(event, self._generated - before)
        row = event.logprobs[-1] if self._params.logprobs and event.logprobs else None
        for token in ids[:-1]:
            # Several tokens make up this text; the last of them completes its characters.
            self._builder.add("", token=token)
        chunk = self._builder.add(event.text, token=ids[-1] if ids else None, logprobs=row)
        if chunk is not None:
            yield chunk

    def _complete(self, event: Event, new: int) -> list[int]:
        """The ids of all new tokens: the server leaves out those that end within a character."""
        ids = list(event.tokens)
        missing = new - len(ids)
        if not ids or missing <= 0:
            return ids
        body = self._server.dialect.tokenize_body(event.text, add_special=False)
        try:
            answer = self._server.client.ask("POST", "/tokenize", body, timeout=self._deadlines.first_token)
        except HttpStatusError:
            answer = {"tokens": []}
        known = [int(token) for token in answer["tokens"]][-new:]
        if len(known) == new and known[-len(ids) :] == ids:
            return known
        warning = "The ids of some tokens within a character are missing: the server did not tell them."
        if warning not in self._warnings:
            self._warnings += (warning,)
        return ids

    def _last(self, event: Event, reason: str) -> Chunk:
        total = time.perf_counter() - self._began
        # A request that was cut short has no last event: then our own clock must do.
        generate = event.generate_seconds
        if generate is None and self._first is not None:
            generate = total - self._first
        stats = GenerationStats(
            prompt_tokens=event.prompt_tokens if event.prompt_tokens is not None else self._prompt_tokens,
            completion_tokens=self._generated,
            prompt_seconds=event.prompt_seconds if event.prompt_seconds is not None else self._first,
            generate_seconds=generate,
            first_token_seconds=self._first,
            total_seconds=total,
            cached_tokens=event.cached,
            warnings=self._warnings,
        )
        return self._builder.finish(reason, stats)

    def failure(self, error: Exception) -> BackendError:
        """The error for a request that ended without an answer."""
        return request_failed(error, "generate", self._server, self._deadlines)
