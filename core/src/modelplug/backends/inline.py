"""A model that runs in the caller's own process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelplug.backends.model import CancelToken, Chunk, GenerateParams, Message, Model, ModelStats
from modelplug.backends.wire import check_chunk, error_from_wire, error_to_wire
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from modelplug.backends.types import LoadRequest

__all__ = ["InlineModel"]


class InlineModel(Model):
    """Passes requests to an engine in this process, with the errors a worker would give.

    Args:
        inner: The engine's model.
        request: What was loaded.
    """

    def __init__(self, inner: Model, request: LoadRequest) -> None:
        self._inner = inner
        self._request = request
        self.info = inner.info
        self.capabilities = inner.capabilities
        self.effective = inner.effective

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream a continuation of `prompt`."""
        return self._guarded(prompt, None, params, cancel)

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Stream the assistant's next turn."""
        return self._guarded("", messages, params, cancel)

    def _guarded(
        self,
        prompt: str | Sequence[int],
        messages: Sequence[Message] | None,
        params: GenerateParams | None,
        cancel: CancelToken | None,
    ) -> Iterator[Chunk]:
        try:
            if messages is None:
                chunks = self._inner.generate(prompt, params, cancel=cancel)
            else:
                chunks = self._inner.chat(messages, params, cancel=cancel)
            for chunk in chunks:
                check_chunk(chunk)
                yield chunk
        except ModelplugError:
            raise
        except (Exception, SystemExit) as error:
            raise self._translated(error, "generate") from error

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """The token ids of `text`."""
        try:
            return self._inner.tokenize(text, add_special=add_special)
        except ModelplugError:
            raise
        except (Exception, SystemExit) as error:
            raise self._translated(error, "tokenize") from error

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        try:
            return self._inner.detokenize(tokens)
        except ModelplugError:
            raise
        except (Exception, SystemExit) as error:
            raise self._translated(error, "tokenize") from error

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        try:
            return self._inner.embed(texts)
        except ModelplugError:
            raise
        except (Exception, SystemExit) as error:
            raise self._translated(error, "embed") from error

    @property
    def stats(self) -> ModelStats:
        """What it has done so far."""
        return self._inner.stats

    def close(self) -> None:
        """Free the engine and remove its scratch directory."""
        self._inner.close()
        if self._request.scratch is not None:
            shutil.rmtree(self._request.scratch, ignore_errors=True)

    def _translated(self, error: BaseException, phase: str) -> ModelplugError:
        return error_from_wire(error_to_wire(error, backend=self._request.backend, phase=phase))
