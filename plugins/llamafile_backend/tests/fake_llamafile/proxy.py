"""Speaks the older servers' dialects in front of today's server, which listens on a Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDPOINTS = {
    "v1": {
        "/health",
        "/completion",
        "/v1/chat/completions",
        "/v1/models",
        "/tokenize",
        "/detokenize",
        "/props",
        "/embedding",
    },
    "v2": {"/v1/completions", "/v1/chat/completions", "/v1/models", "/tokenize", "/embedding"},
    "modern": {
        "/health",
        "/completion",
        "/v1/models",
        "/tokenize",
        "/detokenize",
        "/props",
        "/apply-template",
        "/embedding",
    },
}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class State:
    def __init__(self, inner: Path, dialect: str, fault: str) -> None:
        self.inner = inner
        self.dialect = dialect
        self.fault = fault
        self.loaded = threading.Event()
        self.engine: Any = None

    def ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Ask the real server something."""
        connection = UnixConnection(self.inner)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, json.loads(data)

    def events(self, body: Any) -> Iterator[dict[str, Any]]:
        """The events of the real server for a completion."""
        connection = UnixConnection(self.inner)
        try:
            connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                yield {"refused": response.status, "body": response.read()}
                return
            for line in response:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            if connection.sock is not None:
                connection.sock.close()
            connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer a GET request."""
        self.respond(None)

    def do_POST(self) -> None:
        """Answer a POST request."""
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.state.fault == "http-500" and self.path.endswith("completion") and data != b"}":
            return self.answer(500, {"error": {"message": "the sky fell", "type": "server_error"}})
        if self.path not in self.endpoints():
            return self.answer(404, {"error": {"message": "File Not Found"}})
        try:
            body = json.loads(data)
        except ValueError:
            return self.answer(500, {"error": {"message": "not JSON"}})
        return self.respond(body)

    def endpoints(self) -> set[str]:
        """The paths that exist."""
        found = ENDPOINTS[self.state.dialect]
        return found - {"/completion", "/v1/completions"} if self.state.fault == "no-endpoint" else found

    def respond(self, body: Any) -> None:
        """Answer as the dialect does."""
        if self.path not in self.endpoints():
            return self.answer(404, {"error": {"message": "File Not Found"}})
        if not self.state.loaded.is_set():
            return self.answer(503, {"error": {"message": "Loading model", "type": "unavailable_error"}})
        method = "GET" if body is None else "POST"
        if self.path in ("/completion", "/v1/completions", "/v1/chat/completions"):
            return self.stream(body)
        if self.state.dialect != "modern" and self.path == "/tokenize":
            return self.tokenize(body)
        if self.state.dialect != "modern" and self.path == "/embedding":
            status, answer = self.state.ask("POST", "/embedding", body)
            return self.answer(status, {"embedding": answer[0]["embedding"][0]} if status == 200 else answer)
        return self.answer(*self.state.ask(method, self.path, body))

    def tokenize(self, body: Any) -> None:
        """Answer as the older servers tokenise."""
        if self.state.dialect == "v1":
            # It never adds the start token here, whatever it is asked.
            asked = {"content": body["content"], "add_special": False}
            return self.answer(*self.state.ask("POST", "/tokenize", asked))
        asked = {"content": body["prompt"], "add_special": body.get("add_special", True), "with_pieces": True}
        _, answer = self.state.ask("POST", "/tokenize", asked)
        return self.answer(200, {"tokens": [str(entry["piece"]) for entry in answer["tokens"]]})

    def stream(self, body: Any) -> None:
        """Stream a completion in the dialect."""
        openai = self.path.startswith("/v1/")
        first = True
        for event in self.state.events(self.inner_body(body)):
            if "refused" in event:
                return self.answer(event["refused"], json.loads(event["body"]))
            if first:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                if openai:
                    self.send({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            elif self.state.fault == "mid-stream" and event["tokens_predicted"] >= 5:
                break
            elif self.state.fault == "stalls" and event["tokens_predicted"] >= 5:
                threading.Event().wait()
            first = False
            if self.state.dialect == "modern":
                self.send(event)
            else:
                self.send(self.openai(event) if openai else self.old(event))
        self.close_connection = True
        return None

    def inner_body(self, body: Any) -> dict[str, Any]:
        """The request for the real server."""
        if self.state.dialect == "modern":
            return dict(body)
        inner = {key: value for key, value in body.items() if key not in ("messages", "model", "max_tokens")}
        inner["n_predict"] = body.get("max_tokens", body.get("n_predict", -1))
        inner["stream"] = True
        # The order that these servers always use.
        inner["samplers"] = ["penalties", "top_k", "top_p", "min_p", "temperature"]
        if "messages" in body:
            status, answer = self.state.ask("POST", "/apply-template", {"messages": body["messages"]})
            assert status == 200
            inner["prompt"] = answer["prompt"]
        if self.state.dialect == "v2":
            inner.update(top_k=40, min_p=0.05, repeat_penalty=1.0)
        return inner

    def old(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event in the first server's words."""
        if not event["stop"]:
            return {"content": event["content"], "multimodal": False, "slot_id": 0, "stop": False}
        return {
            "content": event["content"],
            "stop": True,
            "stopped_eos": event["stop_type"] == "eos",
            "stopped_limit": event["stop_type"] == "limit",
            "stopped_word": event["stop_type"] == "word",
            "tokens_predicted": event["tokens_predicted"],
            "tokens_evaluated": event["tokens_evaluated"],
            "timings": event["timings"],
        }

    def openai(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event in OpenAI's words."""
        reason = None
        if event["stop"]:
            reason = "length" if event["stop_type"] == "limit" else "stop"
        choice: dict[str, Any] = {"finish_reason": reason, "index": 0}
        if self.path.endswith("chat/completions"):
            choice["delta"] = {"content": event["content"]} if event["content"] else {}
        else:
            choice["text"] = event["content"]
        return {"choices": [choice], "object": "text_completion"}

    def send(self, event: dict[str, Any]) -> None:
        """Send one event."""
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()

    def answer(self, status: int, body: Any) -> None:
        """Send a whole answer."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is nothing to speak of."""


def serve(
    listener: socket.socket,
    port: int,
    inner: Path,
    load: Callable[[], Any],
    *,
    dialect: str,
    fault: str,
) -> None:
    """Serve until the end."""
    state = State(inner, dialect, fault)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if dialect == "v2":
        state.engine = load()
        state.loaded.set()
        listener.bind(("127.0.0.1", port))
    listener.listen(16)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    print(f"llama server listening at http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if fault == "flood":
        for _ in range(64):
            sys.stderr.write("x" * 65536 + "\n")
        sys.stderr.flush()
    if fault != "never-ready" and not state.loaded.is_set():
        state.engine = load()
        state.loaded.set()
    while True:
        time.sleep(0.2)
