"""Talks to llama.cpp's own server, which listens on the loopback interface of this process."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

__all__ = ["ServerConnection", "ServerRefusedError"]


class ServerRefusedError(Exception):
    """The server answered with an error.

    Attributes:
        status: The HTTP status.
        details: The server's description, with `message` and `type`.
    """

    def __init__(self, status: int, details: dict[str, Any]) -> None:
        super().__init__(details.get("message") or f"HTTP status {status}")
        self.status = status
        self.details = details


class ServerConnection:
    """One connection for one request at a time.

    Args:
        address: `host:port`.
        key: The key that the server demands.
    """

    def __init__(self, address: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(address)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._aborted = False

    def get(self, path: str) -> Any:
        """Ask for `path` and return the answer."""
        self._connection.request("GET", path, headers=self._headers)
        return self._answer()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send `body` and return the answer."""
        self._connection.request("POST", path, json.dumps(body), self._headers)
        return self._answer()

    def _answer(self) -> Any:
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise ServerRefusedError(response.status, _details(answer))
        return answer

    def complete(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ask for the completion of a prompt and yield the server-sent events of the answer as they come."""
        self._connection.connect()
        # `abort` may have come while there was no socket to shut down yet.
        if self._aborted:
            raise ConnectionAbortedError("the request was given up before it was sent")
        self._connection.request("POST", "/completion", json.dumps(body), self._headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise ServerRefusedError(response.status, _details(json.loads(response.read())))
        pending = b""
        # read1 returns what is there: several events of a fast model together, those of a slow one singly.
        while data := response.read1(65536):
            *events, pending = (pending + data).split(b"\n\n")
            for event in events:
                if event.startswith(b"data: {"):
                    yield json.loads(event[6:])
                elif event.startswith(b"error: "):
                    raise ServerRefusedError(500, _details(json.loads(event[7:])))

    def abort(self) -> None:
        """Shut the connection down from any thread, which makes the server stop working on it."""
        self._aborted = True
        socket = self._connection.sock
        if socket is not None:
            import contextlib
            import socket as sockets

            with contextlib.suppress(OSError):
                socket.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _details(answer: Any) -> dict[str, Any]:
    details = answer.get("error", answer) if isinstance(answer, dict) else {"message": str(answer)}
    return details if isinstance(details, dict) else {"message": str(details)}
