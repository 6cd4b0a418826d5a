"""A loaded model for programs built on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from modelplug.backends.arguments import AnyMessage
from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import CancelToken, Chunk, GenerateParams, ModelStats

__all__ = ["AsyncModel"]


class AsyncModel:
    """The async twin of a loaded model: the same methods, awaited, with engines kept off the event loop.

    Args:
        model: The model; closing this object closes it.

    Attributes:
        model: The model itself.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.info = model.info
        self.capabilities = model.capabilities
        self.effective = model.effective
        self.load_result = model.load_result

    async def generate(
        self, prompt: str | Sequence[int], params: GenerateParams | None = None
    ) -> AsyncIterator[Chunk]:
        """Stream a continuation of `prompt`; leaving the loop or cancelling the task stops the engine."""
        async for chunk in self._stream(lambda cancel: self.model.generate(prompt, params, cancel=cancel)):
            yield chunk

    async def chat(
        self, messages: Sequence[AnyMessage], params: GenerateParams | None = None
    ) -> AsyncIterator[Chunk]:
        """Stream the assistant's next turn; leaving the loop or cancelling the task stops the engine."""
        async for chunk in self._stream(lambda cancel: self.model.chat(messages, params, cancel=cancel)):
            yield chunk

    async def complete(self, prompt: str | Sequence[int], params: GenerateParams | None = None) -> str:
        """The whole continuation of `prompt` as one string."""
        return "".join([chunk.text async for chunk in self.generate(prompt, params)])

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`."""
        return await asyncio.to_thread(self.model.tokenize, text, add_special=add_special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return await asyncio.to_thread(self.model.detokenize, tokens)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        return await asyncio.to_thread(self.model.embed, texts)

    async def stats(self) -> ModelStats:
        """What it has used and done so far."""
        return await asyncio.to_thread(lambda: self.model.stats)

    async def close(self) -> None:
        """Free the engine and its process."""
        await asyncio.to_thread(self.model.close)

    async def __aenter__(self) -> AsyncModel:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def _stream(self, start: Callable[[CancelToken], Iterator[Chunk]]) -> AsyncIterator[Chunk]:
        loop = asyncio.get_running_loop()
        cancel = CancelToken()
        chunks: asyncio.Queue[Chunk | BaseException | None] = asyncio.Queue()

        def hand_over(item: Chunk | BaseException | None) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, item)

        def run() -> None:
            try:
                for chunk in start(cancel):
                    hand_over(chunk)
            except BaseException as error:  # noqa: BLE001  re-raised below, in the task that consumes
                hand_over(error)
            else:
                hand_over(None)

        running: asyncio.Future[Any] = loop.run_in_executor(None, run)
        try:
            while (item := await chunks.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            cancel.cancel()
            await asyncio.shield(running)
