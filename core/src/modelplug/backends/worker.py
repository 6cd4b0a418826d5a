"""The process that runs an engine: reads requests from its host, answers them, and ends with it.

Started by `modelplug.backends.process`. The engine may print what it likes: standard output is turned into
standard error before anything of it is imported, and the protocol uses copies of the original descriptors.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from modelplug.backends.frames import PROTOCOL_VERSION, ProtocolError, read_frame
from modelplug.backends.lifeline import end_with_host, start_guard
from modelplug.backends.model import CancelToken, Message, Model
from modelplug.backends.outbox import Outbox
from modelplug.backends.wire import (
    chunk_to_wire,
    error_to_wire,
    loaded_to_wire,
    params_from_wire,
    request_from_wire,
    stats_to_wire,
)
from modelplug.errors import BackendError, ModelplugError

if TYPE_CHECKING:
    from modelplug.backends.types import LoadRequest

__all__ = ["main"]

BEAT_SECONDS = 1.0
FAREWELL_SECONDS = 2.0


class Worker:
    """Serves one model to one host.

    Args:
        incoming: Frames from the host.
        outgoing: Frames to the host.
        guard: Process id of the guard; None without one.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, guard: int | None = None) -> None:
        self._incoming = incoming
        self._guard = guard
        self._outbox = Outbox(outgoing)
        self._backend = ""
        self._model: Model | None = None
        self._scratch: Path | None = None
        self._cancels: dict[int, CancelToken] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._leaving = threading.Lock()

    def run(self) -> None:
        """Serve until the host says `close` or goes away."""
        hello = {"op": "hello", "protocol": PROTOCOL_VERSION, "pid": os.getpid(), "guard": self._guard}
        self._outbox.send(hello)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        while (message := read_frame(self._incoming)) is not None:
            operation = message["op"]
            if operation == "close":
                break
            if operation == "load":
                # On the main thread: some engines may only be loaded there.
                self._load(message)
            elif operation == "cancel":
                self._cancel(message["id"])
            else:
                self._start(message)
        self.farewell(polite=message is not None)

    def farewell(self, *, polite: bool = False) -> None:
        """Free the model, clean up and exit without returning.

        Native libraries are not trusted to tear themselves down at interpreter exit: the process ends here,
        with whatever threads they still have, and at the latest after two seconds.
        """
        status = 0 if polite else 1
        # Two threads may notice the end; the second waits here until the first has ended the process.
        self._leaving.acquire()
        last_resort = threading.Timer(FAREWELL_SECONDS, os._exit, (status,))
        last_resort.daemon = True
        last_resort.start()
        self._ended.set()
        with self._lock:
            tokens = list(self._cancels.values())
        for token in tokens:
            token.cancel()
        try:
            if self._model is not None:
                self._model.close()
            if polite:
                self._outbox.send({"op": "closed"})
        except Exception as error:  # noqa: BLE001  the process ends whatever the engine says; the host sees stderr
            print(f"closing failed: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)
            sys.stderr.flush()
            os._exit(status)

    def _beat(self) -> None:
        # A host that has gone ends the process by other ways; there is nobody to beat for.
        with contextlib.suppress(OSError):
            while not self._ended.wait(BEAT_SECONDS):
                self._outbox.send({"op": "beat"})

    def _load(self, message: dict[str, Any]) -> None:
        self._backend = message["request"]["backend"]
        try:
            request = request_from_wire(message["request"])
            self._scratch = request.scratch
            self._model = load_with_plugin(request, message["plugin"])
            answer = loaded_to_wire(self._model.capabilities, self._model.effective)
        except BaseException as error:  # noqa: BLE001  every failure of an engine becomes an answer, sys.exit too
            self._fail(message["id"], error, "load")
        else:
            self._outbox.send({"op": "result", "id": message["id"], "value": answer})

    def _start(self, message: dict[str, Any]) -> None:
        number = message["id"]
        token = CancelToken()
        with self._lock:
            self._cancels[number] = token
        handler = _HANDLERS.get(message["op"], _unknown)
        threading.Thread(
            target=self._serve, args=(handler, message, token), name=f"request-{number}", daemon=True
        ).start()

    def _serve(self, handler: _Handler, message: dict[str, Any], token: CancelToken) -> None:
        number = message["id"]
        try:
            assert self._model is not None, "a request came before a model was loaded"
            handler(self._model, message, token, self._outbox)
        except BrokenPipeError:
            return  # the host has gone, and the main thread knows
        except BaseException as error:  # noqa: BLE001  every failure of an engine becomes an answer, sys.exit too
            self._fail(number, error, _PHASE_OF.get(message["op"], message["op"]))
        finally:
            with self._lock:
                self._cancels.pop(number, None)

    def _cancel(self, number: int) -> None:
        with self._lock:
            token = self._cancels.get(number)
        if token is not None:
            token.cancel()

    def _fail(self, number: int, error: BaseException, phase: str) -> None:
        # The host keeps the last lines of standard error, and shows them under --debug.
        foreign = error.__cause__ if isinstance(error, ModelplugError) else error
        if isinstance(error, BackendError) and not error.is_fault:
            foreign = None
        if foreign is not None and not isinstance(foreign, ModelplugError):
            traceback.print_exception(type(foreign), foreign, foreign.__traceback__)
            sys.stderr.flush()
        plain = error_to_wire(error, backend=self._backend, phase=phase)
        self._outbox.send({"op": "error", "id": number, "error": plain})


def load_with_plugin(request: LoadRequest, plugin: str) -> Model:
    """The model, loaded by the named plugin in this process.

    Raises:
        BackendError: The plugin can't be used, or does not know the backend.
    """
    from modelplug.plugins import PluginManager

    plugins = PluginManager(only=[plugin])
    result = plugins.call_first("modelplug_load_model", plugin=plugin, request=request)
    if result is None:
        record = plugins.record(plugin)
        raise BackendError(
            f"the plugin {plugin!r} did not load a model with {request.backend!r}",
            backend=request.backend,
            phase="load",
            why=record.cause or "it says that the backend is not its own",
            advice=record.remedy or f"Run `modelplug plugins show {plugin}`.",
        )
    model: Model = result.value
    return model


_Handler = Callable[[Model, dict[str, Any], CancelToken, Outbox], None]


def _generate(model: Model, message: dict[str, Any], token: CancelToken, outbox: Outbox) -> None:
    params = params_from_wire(message["params"])
    if "messages" in message:
        messages = [Message(role, content) for role, content in message["messages"]]
        chunks = model.chat(messages, params, cancel=token)
    else:
        chunks = model.generate(message["prompt"], params, cancel=token)
    number = message["id"]
    for chunk in chunks:
        outbox.send_chunk(number, chunk_to_wire(chunk), last=chunk.finish_reason is not None)
    outbox.send({"op": "result", "id": number, "value": None})


def _tokenize(model: Model, message: dict[str, Any], _token: CancelToken, outbox: Outbox) -> None:
    value = model.tokenize(message["text"], add_special=message["add_special"])
    outbox.send({"op": "result", "id": message["id"], "value": value})


def _detokenize(model: Model, message: dict[str, Any], _token: CancelToken, outbox: Outbox) -> None:
    outbox.send({"op": "result", "id": message["id"], "value": model.detokenize(message["tokens"])})


def _embed(model: Model, message: dict[str, Any], _token: CancelToken, outbox: Outbox) -> None:
    outbox.send({"op": "result", "id": message["id"], "value": model.embed(message["texts"])})


def _stats(model: Model, message: dict[str, Any], _token: CancelToken, outbox: Outbox) -> None:
    outbox.send({"op": "result", "id": message["id"], "value": stats_to_wire(model.stats)})


def _unknown(_model: Model, message: dict[str, Any], _token: CancelToken, _outbox: Outbox) -> None:
    raise ProtocolError(f"there is no request {message['op']!r}")


_HANDLERS: dict[str, _Handler] = {
    "generate": _generate,
    "tokenize": _tokenize,
    "detokenize": _detokenize,
    "embed": _embed,
    "stats": _stats,
}
_PHASE_OF = {"detokenize": "tokenize"}


def main(lifeline: int, host_pid: int, scratch: str) -> None:
    """Take over the standard descriptors and serve.

    Args:
        lifeline: Descriptor of the read end of the pipe that closes when the host dies; -1 for none.
        host_pid: The host's process id.
        scratch: The directory that must not outlive this process; empty for none.
    """
    guard = start_guard(lifeline, host_pid, scratch) if lifeline >= 0 else None
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    # Ctrl-C at a terminal is the host's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The stack that crashed; those of the others would push the engine's own words out of the ring.
    faulthandler.enable(all_threads=False)
    worker = Worker(incoming, outgoing, guard)
    if guard is not None:
        end_with_host(host_pid, worker.farewell)
    try:
        worker.run()
    except (ProtocolError, OSError) as error:
        print(f"the connection to the host broke: {error}", file=sys.stderr)
    worker.farewell()
