"""An engine that says the words of its settings, each of them a token."""

from __future__ import annotations

import ctypes
import math
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from speaking_settings import SpeakingSettings

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
from modelplug.backends.requests import RequestClock
from modelplug.backends.types import LoadRequest


class Speaker(Model):
    """Says its words until it has said enough."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = settings = request.settings_as(SpeakingSettings)
        parameters = {"max_tokens", "temperature", "top_k", "top_p"} | (
            {"seed"} if settings.seeded else set()
        )
        self.info = request.info
        self.capabilities = Capabilities(
            chat=False,
            tokenize=False,
            token_ids=settings.tokens,
            logprobs=bool(settings.probabilities),
            parameters=frozenset(parameters),
        )
        self.effective = Effective(backend=request.backend, engine_version="1.0", context_size=1000)
        self._faulty = settings.only in request.path.name
        self._requests = 0

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Say the words."""
        params = params or GenerateParams()
        settings, clock = self._settings, RequestClock()
        self._requests += 1
        words = settings.text.split()
        if settings.hasty or (settings.fickle and params.temperature > 0):
            words = [*words[:2], f"number-{self._requests}"]
        clock.prompt_done()
        count, reason = 0, "length"
        while count < (params.max_tokens or 10):
            if settings.ends and count == len(words):
                reason = "stop"
                break
            if count == 2 and self._faulty:
                self._fail()
            word = words[count % len(words)] if words else ""
            count += 1
            clock.token_drawn()
            yield Chunk(
                f"{word} " if word else "",
                (zlib.crc32(word.encode()) % 1000,) if params.return_tokens else (),
                logprobs=(self._probabilities(f"{word} "),) if params.logprobs else (),
            )
            time.sleep(settings.pace)
        stats = clock.stats(prompt_tokens=len(str(prompt).split()), completion_tokens=count)
        yield Chunk("", (), reason, stats)

    def _fail(self) -> None:
        if self._settings.journal:
            Path(self._settings.journal).write_text(self._settings.fault)
        if self._settings.fault == "crash":
            ctypes.string_at(0)
        if self._settings.fault == "hang":
            time.sleep(120)

    def _probabilities(self, word: str) -> dict[str, Any]:
        rival = f"{self._settings.rival} "
        return {
            "sound": {word: -0.1, rival: -4.0, "ruled out ": -math.inf},
            "tied": {word: -0.70, rival: -0.72},
            "nan": {word: math.nan, rival: -1.0},
            "null": {word: None, rival: None},
        }[self._settings.probabilities]

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """Refused before it gets here."""
        raise AssertionError

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Refused before it gets here."""
        raise AssertionError

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Refused before it gets here."""
        raise AssertionError

    @property
    def stats(self) -> ModelStats:
        """Requests so far."""
        return ModelStats(requests=self._requests)

    def close(self) -> None:
        """Nothing is held."""
