"""The framing between host and worker."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.backends import frames
from modelplug.backends.frames import ProtocolError, encode_frame, read_frame, write_frame

# Any text: lone surrogates and NUL included.
texts = st.text(st.characters())
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
messages = st.builds(lambda op, rest: {**rest, "op": op}, texts, st.dictionaries(texts, values, max_size=5))


@given(st.lists(messages, max_size=4))
def test_frames_round_trip(sent: list[dict[str, Any]]) -> None:
    """Messages come out of a stream as they went in, one by one, and then the stream ends."""
    stream = io.BytesIO()
    for message in sent:
        write_frame(stream, message)
    stream.seek(0)
    assert [read_frame(stream) for _ in sent] == sent
    assert read_frame(stream) is None


@given(messages, st.data())
def test_a_truncated_frame_is_an_error(message: dict[str, Any], data: st.DataObject) -> None:
    """A stream that ends anywhere within a frame is a protocol error."""
    whole = encode_frame(message)
    cut = data.draw(st.integers(min_value=1, max_value=len(whole) - 1))
    with pytest.raises(ProtocolError, match="ends within a frame"):
        read_frame(io.BytesIO(whole[:cut]))


@given(st.binary(max_size=200))
def test_garbage_is_an_error_or_a_message(garbage: bytes) -> None:
    """Random bytes give a protocol error or the end of the stream, and no other exception."""
    try:
        message = read_frame(io.BytesIO(garbage))
    except ProtocolError:
        return
    assert message is None or isinstance(message["op"], str)


@given(st.binary(max_size=60))
def test_a_garbage_body_is_an_error_or_a_message(body: bytes) -> None:
    """A frame of the right length around anything gives a protocol error or a message."""
    try:
        message = read_frame(io.BytesIO(struct.pack("<I", len(body)) + body))
    except ProtocolError:
        return
    assert message is not None
    assert isinstance(message["op"], str)


@pytest.mark.parametrize("body", ["[]", "7", "null", '"op"', "{}", '{"op": 1}', "[" * 100_000, "", "\xff"])
def test_a_body_of_another_kind_is_an_error(body: str) -> None:
    """JSON that is no object with an operation, or no JSON at all, is a protocol error."""
    data = body.encode("latin-1")
    with pytest.raises(ProtocolError):
        read_frame(io.BytesIO(struct.pack("<I", len(data)) + data))


def test_a_frame_can_not_claim_more_than_the_limit() -> None:
    """An absurd length is refused before anything is allocated for it."""
    with pytest.raises(ProtocolError, match="claims 4294967295 bytes"):
        read_frame(io.BytesIO(b"\xff\xff\xff\xff{}"))


def test_a_message_beyond_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message longer than a frame may be is refused by the sender."""
    monkeypatch.setattr(frames, "MAX_FRAME", 100)
    stream = io.BytesIO()
    with pytest.raises(ProtocolError, match="longer than the 100 allowed"):
        write_frame(stream, {"op": "x" * 200})
    assert stream.getvalue() == b""


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    """An unbuffered stream that writes only part of what it is given is given the rest."""

    class Reluctant(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:7])

    stream = Reluctant()
    write_frame(stream, {"op": "hello", "text": "long enough to need several writes"})
    body = stream.getvalue()[4:]
    assert json.loads(body)["text"].startswith("long enough")
