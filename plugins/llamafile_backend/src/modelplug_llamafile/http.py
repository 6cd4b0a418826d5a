"""Speaks HTTP with the server: single answers, and streams that can be cut off."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Client", "HttpStatusError", "StreamBrokenError"]


class HttpStatusError(Exception):
    """The server answered with another status than 200.

    Attributes:
        status: The HTTP status.
        path: What was asked for.
        kind: The server's own name for the error, if it has one.
        details: The server's description as an object; empty if it is none.
    """

    def __init__(self, status: int, path: str, body: bytes) -> None:
        self.status = status
        self.path = path
        self.details = _details(body)
        self.kind = str(self.details.get("type", ""))
        message = self.details.get("message") or body.decode("utf-8", "replace").strip()[:500]
        super().__init__(str(message) or f"HTTP status {status}")


class StreamBrokenError(Exception):
    """The server closed a stream before its end, or sent something that is none."""


class Client:
    """One server on the loopback interface.

    Args:
        port: Its port.
        key: The key it demands; empty if none.
    """

    def __init__(self, port: int, key: str = "") -> None:
        self.port = port
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """One request and its answer, read as JSON.

        Args:
            method: `GET` or `POST`.
            path: With the leading slash.
            body: Sent as JSON; None sends nothing.
            timeout: Seconds of silence that are too many.

        Raises:
            HttpStatusError: Another status than 200.
            StreamBrokenError: The answer is no JSON.
            OSError: No connection, or the time ran out.
        """
        status, data = self.raw(method, path, body, timeout=timeout)
        if status != 200:
            raise HttpStatusError(status, path, data)
        try:
            return json.loads(data)
        except ValueError as error:
            raise StreamBrokenError(f"the answer to {path} is no JSON: {data[:200]!r}") from error

    def raw(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """One request; the status and body of its answer, whatever they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def has(self, path: str, *, timeout: float | None = None) -> bool:
        """Whether there is an endpoint that takes requests, asked with one that none can act on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", path, b"}", self._headers)
            return connection.getresponse().status not in (404, 405)
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def open_stream(self, path: str, body: Any, *, timeout: float | None) -> EventStream:
        """Send a request whose answer is a stream of events.

        Args:
            path: With the leading slash.
            body: Sent as JSON.
            timeout: Seconds of silence that are too many; None for no limit.
        """
        return EventStream(self.port, path, json.dumps(body), self._headers, timeout)


class EventStream:
    """The events of one answer, which `abort` cuts off from any thread.

    Cutting the connection is what makes the server stop generating.
    """

    def __init__(
        self, port: int, path: str, body: str, headers: dict[str, str], timeout: float | None
    ) -> None:
        self._path = path
        self._request = (body, headers)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._connection.connect()
        # http.client forgets the socket once the response has taken it over.
        self._socket: socket.socket = self._connection.sock
        self._response: http.client.HTTPResponse | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The events, until the stream ends.

        Raises:
            HttpStatusError: The server refused, at once or within the stream.
            StreamBrokenError: The connection ended within an event.
            OSError: The connection broke, or the time ran out.
        """
        body, headers = self._request
        try:
            self._connection.request("POST", self._path, body, headers)
            self._response = self._connection.getresponse()
            if self._response.status != 200:
                raise HttpStatusError(self._response.status, self._path, self._response.read())
            yield from self._events(self._response)
        except http.client.HTTPException as error:
            raise StreamBrokenError(f"{type(error).__name__}: {error}") from error

    def _events(self, response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        pending = b""
        # read1 returns what is there: several events from a fast model, one at a time from a slow one.
        while data := response.read1(65536):
            *blocks, pending = (pending + data).replace(b"\r\n", b"\n").split(b"\n\n")
            for block in blocks:
                yield from self._event(block)
        if pending.strip():
            yield from self._event(pending)

    def _event(self, block: bytes) -> Iterator[dict[str, Any]]:
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.strip()
            if name == b"error":
                raise HttpStatusError(500, self._path, value)
            if name != b"data" or value == b"[DONE]":
                continue
            try:
                # The second server sends the bytes of each token, which may be half a character.
                event = json.loads(value.decode("utf-8", "replace"))
            except ValueError as error:
                raise StreamBrokenError(f"an event is no JSON: {value[:200]!r}") from error
            if isinstance(event, dict) and isinstance(event.get("error"), (dict, str)):
                raise HttpStatusError(500, self._path, value)
            if isinstance(event, dict):
                yield event

    def abort(self) -> None:
        """Cut the connection; whoever waits for the next event is woken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give everything back; an answer that has not ended is cut off."""
        self.abort()
        if self._response is not None:
            self._response.close()
        self._connection.close()
        self._socket.close()


def _details(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    found = found.get("error", found) if isinstance(found, dict) else {}
    if isinstance(found, str):
        return {"message": found}
    return found if isinstance(found, dict) else {}
