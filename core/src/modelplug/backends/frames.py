"""The framing between host and worker: JSON objects, each behind its length.

A frame is a little-endian u32, the number of bytes that follow, and that many bytes of UTF-8 JSON holding one
object. Lengths are bounded, so that a confused peer can't make the other allocate without limit.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO, Final

__all__ = ["PROTOCOL_VERSION", "ProtocolError", "encode_frame", "read_frame", "write_frame"]

PROTOCOL_VERSION: Final = 1
MAX_FRAME: Final = 256 * 1024 * 1024

_LENGTH = struct.Struct("<I")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class ProtocolError(Exception):
    """The other side sent something that is not a frame of this protocol."""


def encode_frame(message: dict[str, Any]) -> bytes:
    """The bytes of one frame.

    Raises:
        ProtocolError: The message is longer than a frame may be.
    """
    # A lone surrogate stands for itself here, as it does when the other side decodes.
    body = _encode(message).encode("utf-8", "surrogatepass")
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes is longer than the {MAX_FRAME} allowed"
        raise ProtocolError(msg)
    return _LENGTH.pack(len(body)) + body


def write_frame(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Write one frame and flush; the caller holds the lock that makes this atomic."""
    rest = memoryview(encode_frame(message))
    # An unbuffered stream may take less than it is given.
    while rest:
        rest = rest[stream.write(rest) :]
    stream.flush()


def read_frame(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one frame; None at the end of the stream.

    Raises:
        ProtocolError: The stream ends within a frame, a length is absurd, or the body is not a JSON object.
    """
    head = stream.read(4)
    if not head:
        return None
    if len(head) < 4:
        msg = "the stream ends within a frame's length"
        raise ProtocolError(msg)
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
        msg = f"a frame claims {length} bytes"
        raise ProtocolError(msg)
    body = stream.read(length)
    if len(body) < length:
        msg = "the stream ends within a frame"
        raise ProtocolError(msg)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"a frame does not hold JSON: {error}"
        raise ProtocolError(msg) from error
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        msg = "a frame holds something other than an object with an `op`"
        raise ProtocolError(msg)
    return message
