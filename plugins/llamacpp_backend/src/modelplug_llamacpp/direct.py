"""Calls llama.cpp's completion function in this process, without HTTP.

It saves a fast model a fifth of its time. What it can't do is stop while the prompt is evaluated: the engine
looks whether to go on only when it has a token to hand over. Through HTTP it also looks between two batches
of the prompt, so this way is for prompts of a single batch, where that makes no difference.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from modelplug_llamacpp.http import ServerRefusedError

__all__ = ["DirectCall", "full_event"]

# How the engine spells an event that is nothing but text. Anything else is parsed as JSON.
_HEAD = '{"choices":[{"text":"'
_TAIL = ',"index":0,"logprobs":null,"finish_reason":null'
_STOP_TYPES = {"stop": "eos", "length": "limit"}


class DirectCall:
    """One request to the engine, made in a thread of its own.

    Args:
        server: The engine's server object.
    """

    def __init__(self, server: Any) -> None:
        self._server: Any = server
        self._answers: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self._aborted = False

    def complete(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Make the request and yield its events as they come.

        An event that is nothing but text has `content`, `stop` and, as `raw`, the engine's own words, of
        which `full_event` makes the rest.

        Raises:
            ServerRefusedError: The engine refused the request.
        """
        if self._aborted:
            return
        request = json.dumps({**body, "timings_per_token": True})
        threading.Thread(
            target=self._call, args=(self._server, request), name="llama.cpp-request", daemon=True
        ).start()
        try:
            while (answer := self._answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise ServerRefusedError(500, {"message": str(answer)}) from answer
                yield _event(answer)
        finally:
            self._aborted = True

    def abort(self) -> None:
        """Stop the request from any thread; the engine stops at its next token."""
        self._aborted = True
        self._answers.put(None)

    def close(self) -> None:
        """Let the request go, and the engine, which ends when nobody holds it any more."""
        self._aborted = True
        self._server = None

    def _call(self, server: Any, request: str) -> None:
        put = self._answers.put

        def take(answer: str) -> bool:
            put(answer)
            return self._aborted

        try:
            server.handle_completions(request, take)
        except Exception as error:  # noqa: BLE001  handed to the thread that waits
            put(error)
        put(None)


def _event(answer: str) -> dict[str, Any]:
    if answer.startswith(_HEAD):
        text, end = scanstring(answer, len(_HEAD))
        if answer.startswith(_TAIL, end):
            return {"content": text, "stop": False, "raw": answer}
    return full_event(answer)


def full_event(answer: str) -> dict[str, Any]:
    """An event in the form in which `/completion` gives it."""
    plain = json.loads(answer)
    if "choices" not in plain:
        details = plain.get("error", plain)
        raise ServerRefusedError(int(details.get("code", 500)), details)
    (choice,) = plain["choices"]
    timings = plain.get("timings") or {}
    usage = plain.get("usage") or {}
    reason = choice["finish_reason"]
    return {
        "content": choice["text"],
        "stop": reason is not None,
        "stop_type": _STOP_TYPES.get(reason, "eos"),
        "tokens_predicted": usage.get("completion_tokens", timings.get("predicted_n", 0)),
        "tokens_evaluated": usage.get(
            "prompt_tokens", timings.get("prompt_n", 0) + timings.get("cache_n", 0)
        ),
        "timings": timings,
    }
