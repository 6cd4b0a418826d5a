"""Frames sent by several threads, and chunks of a fast engine sent together."""

from __future__ import annotations

import io
import os
import threading
import time
from typing import Any

import pytest

from modelplug.backends import outbox as outbox_module
from modelplug.backends.frames import read_frame
from modelplug.backends.outbox import Outbox


def received(stream: io.BytesIO) -> list[dict[str, Any]]:
    """The messages that were written so far."""
    # Another thread may be writing, at the place where the stream stands.
    written = io.BytesIO(stream.getvalue())
    messages = []
    while (message := read_frame(written)) is not None:
        messages.append(message)
    return messages


def test_the_first_chunk_goes_out_at_once() -> None:
    """A chunk after a pause is written before `send_chunk` returns."""
    stream = io.BytesIO()
    outbox = Outbox(stream)
    outbox.send_chunk(1, "a", last=False)
    assert received(stream) == [{"op": "chunks", "id": 1, "chunks": ["a"]}]
    outbox.close()


def test_chunks_that_follow_closely_travel_together() -> None:
    """A thousand chunks in no time arrive complete, in order, in far fewer frames."""
    stream = io.BytesIO()
    outbox = Outbox(stream)
    for number in range(1000):
        outbox.send_chunk(1, str(number), last=number == 999)
    outbox.close()
    messages = received(stream)
    assert [chunk for message in messages for chunk in message["chunks"]] == [str(n) for n in range(1000)]
    assert len(messages) < 500


def test_a_chunk_that_waits_is_sent_without_a_further_one() -> None:
    """The last chunk before a pause does not wait for the next."""
    stream = io.BytesIO()
    outbox = Outbox(stream)
    outbox.send_chunk(1, "a", last=False)
    outbox.send_chunk(1, "b", last=False)
    deadline = time.monotonic() + 60
    while len(received(stream)) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [message["chunks"] for message in received(stream)] == [["a"], ["b"]]
    outbox.close()


def test_a_message_never_overtakes_a_chunk() -> None:
    """What waits is sent before any other message, so that a result comes after the text."""
    stream = io.BytesIO()
    outbox = Outbox(stream)
    for text in "abc":
        outbox.send_chunk(1, text, last=False)
    outbox.send({"op": "result", "id": 1})
    outbox.close()
    messages = received(stream)
    assert messages[-1] == {"op": "result", "id": 1}
    assert "".join("".join(message["chunks"]) for message in messages[:-1]) == "abc"


def test_requests_are_not_mixed() -> None:
    """Chunks of several threads arrive under their own request's number, each in order."""
    stream = io.BytesIO()
    outbox = Outbox(stream)

    def work(request: int) -> None:
        for number in range(300):
            outbox.send_chunk(request, number, last=number == 299)

    threads = [threading.Thread(target=work, args=(request,)) for request in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.close()
    for request in (1, 2, 3):
        mine = [m["chunks"] for m in received(stream) if m["id"] == request]
        assert [number for chunks in mine for number in chunks] == list(range(300))


def test_a_host_that_has_gone_does_not_trouble_the_flusher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe ends the thread that sends late chunks quietly."""
    # So long that the second chunk waits, however late this thread gets its turn.
    monkeypatch.setattr(outbox_module, "INTERVAL", 1.0)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as stream:
        outbox = Outbox(stream)
        outbox.send_chunk(1, "a", last=False)
        os.close(reading)
        outbox.send_chunk(1, "b", last=False)
        outbox._flusher.join()
        assert outbox._waiting == {}
        outbox.close()
