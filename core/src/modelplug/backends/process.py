"""The host's side of a worker: starts it, talks to it, and notices how it ends."""

from __future__ import annotations

import contextlib
import copy
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from modelplug.backends.exits import explain_exit
from modelplug.backends.frames import PROTOCOL_VERSION, ProtocolError, encode_frame, read_frame
from modelplug.backends.last_words import LastWords
from modelplug.backends.spawn import spawn_worker
from modelplug.backends.types import Deadlines
from modelplug.backends.wire import error_from_wire
from modelplug.errors import BackendError, ModelplugError, UsageError, WorkerCrashedError, WorkerTimeoutError

__all__ = ["Reply", "WorkerProcess"]

HEARTBEAT_SECONDS: Final = 60.0
CANCEL_SECONDS: Final = 2.0

_PHASE_WORDS: Final = {
    "start": "start",
    "load": "load the model",
    "first-token": "give the first token",
    "generate": "give the next token",
    "tokenize": "tokenize",
    "embed": "embed",
}


class Reply:
    """The answers to one request, in the order they come.

    Args:
        number: The request's number.
    """

    __slots__ = ("messages", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages: queue.SimpleQueue[dict[str, Any] | ModelplugError] = queue.SimpleQueue()


class WorkerProcess:
    """A worker process and the threads that talk with it.

    Args:
        backend: The backend's name, for messages.
        deadlines: How long each phase may take.
        scratch: A directory that must not outlive the worker.

    Raises:
        WorkerTimeoutError: It did not start in time.
        BackendError: It could not be started.
    """

    def __init__(self, backend: str, deadlines: Deadlines, scratch: Path | None = None) -> None:
        self.backend = backend
        self.deadlines = deadlines
        self.last_beat = time.monotonic()
        self._lock = threading.Lock()
        self._replies: dict[int, Reply] = {}
        self._next_number = 0
        self._failure: ModelplugError | None = None
        self._closing = False
        self._released = False
        self._guard_pid: int | None = None
        # Written by a thread, so that neither a deadline nor Ctrl-C depends on the worker reading.
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        hello = self._expect(0)
        self.spawned = spawn_worker(backend, scratch)
        self._process = self.spawned.process
        assert self._process.stderr is not None
        self._last_words = LastWords(self._process.stderr)
        self._drainer = self._thread(self._last_words.drain, "stderr")
        self._writer = self._thread(self._send_all, "requests")
        # The last one: a worker that ends at once makes it look at all the others.
        self._listener = self._thread(self._listen, "replies")
        try:
            greeting = self.wait(hello, "start", deadlines.start)
            self._check(greeting)
        except BaseException:
            self.kill()
            raise
        self._guard_pid = greeting.get("guard")

    def _thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"{self.backend}-{name}", daemon=True)
        thread.start()
        return thread

    def _check(self, greeting: dict[str, Any]) -> None:
        if greeting.get("protocol") != PROTOCOL_VERSION:
            raise BackendError(
                f"the worker of {self.backend} speaks another protocol",
                backend=self.backend,
                phase="start",
                cause="start-failed",
                why=f"it says {greeting.get('protocol')!r}, this program says {PROTOCOL_VERSION}",
                advice="Two versions of modelplug are mixed: reinstall it in this environment.",
            )

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def guard_pid(self) -> int | None:
        """The process that ends the worker when this program has died; it shares the worker's memory."""
        return self._guard_pid

    @property
    def alive(self) -> bool:
        """Whether it still runs and can be asked."""
        return self._failure is None and self.spawned.ours and self._process.poll() is None

    def stderr_tail(self, lines: int = 60) -> str:
        """The last lines the engine wrote to standard error or output, without control characters."""
        return self._last_words.tail(lines)

    def resident_bytes(self) -> int:
        """Main memory used now by the worker and the processes it started, in bytes; 0 once it has ended."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for member in (process, *process.children(recursive=True)):
                # The guard shares nearly all of its memory with the worker.
                if member.pid != self._guard_pid:
                    with contextlib.suppress(psutil.Error):
                        total += int(member.memory_info().rss)
        return total

    # Asking -----------------------------------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> Reply:
        """Send a request; its answers come in the `Reply`, which `forget` ends.

        Raises:
            UsageError: It is longer than a message may be.
            BackendError: This process is a forked copy of the one that loaded the model.
        """
        if not self.spawned.ours:
            raise BackendError(
                f"{self.backend} was loaded by another process",
                backend=self.backend,
                phase="generate",
                cause="closed",
                why="this process is a copy that was forked afterwards, and a worker serves one process",
                advice="Load the model in the process that uses it.",
            )
        with self._lock:
            self._next_number += 1
            number = self._next_number
        try:
            frame = encode_frame({**message, "id": number})
        except ProtocolError as error:
            raise UsageError(
                "the request is too large", why=str(error), advice="Shorten the prompt."
            ) from error
        reply = self._expect(number)
        self._outgoing.put(frame)
        return reply

    def cancel(self, number: int) -> None:
        """Ask the worker to stop one request."""
        self._outgoing.put(encode_frame({"op": "cancel", "id": number}))

    def forget(self, reply: Reply) -> None:
        """Drop a reply that nobody waits for any more."""
        with self._lock:
            self._replies.pop(reply.number, None)

    def call(self, message: dict[str, Any], phase: str, seconds: float | None) -> Any:
        """Send a request and return its one answer."""
        reply = self.send(message)
        try:
            return self.wait(reply, phase, seconds)["value"]
        finally:
            self.forget(reply)

    def wait(self, reply: Reply, phase: str, seconds: float | None) -> dict[str, Any]:
        """The next message of a reply.

        Args:
            reply: What `send` returned.
            phase: What is being waited for, for messages.
            seconds: The deadline; None waits as long as the worker shows signs of life.

        Raises:
            WorkerTimeoutError: The deadline passed; the request, or else the worker, has been stopped.
            ModelplugError: The worker answered with an error, or died.
        """
        try:
            message = reply.messages.get_nowait()
        except queue.Empty:
            message = self._wait_patiently(reply, phase, seconds)
        if isinstance(message, ModelplugError):
            raise _seen_in(phase, message)
        if message["op"] == "error":
            error = error_from_wire(message["error"])
            if isinstance(error, BackendError) and error.is_fault and not error.stderr_tail:
                self._last_words.settle()
                error.stderr_tail = self.stderr_tail()
                error.data["stderr_tail"] = error.stderr_tail
            raise error
        return message

    def _wait_patiently(
        self, reply: Reply, phase: str, seconds: float | None
    ) -> dict[str, Any] | ModelplugError:
        began = time.monotonic()
        suspicious = False
        while True:
            waited = time.monotonic() - began
            if seconds is not None and waited >= seconds:
                # What came while this thread did not get its turn is not late.
                with contextlib.suppress(queue.Empty):
                    return reply.messages.get_nowait()
                raise self._time_out(reply, phase, seconds)
            silence = time.monotonic() - max(self.last_beat, began)
            # The first beat comes after the start, and some engines hold the interpreter lock while they
            # load; silence is no sign of death then.
            silent = phase not in ("start", "load") and silence > HEARTBEAT_SECONDS
            # After this program itself was stopped for a while, the beats wait to be read; look twice.
            if silent and suspicious:
                raise self._time_out(reply, phase, HEARTBEAT_SECONDS)
            suspicious = silent
            pause = 1.0 if seconds is None else min(1.0, seconds - waited)
            with contextlib.suppress(queue.Empty):
                return reply.messages.get(timeout=pause)
            if self._process.poll() is not None:
                # Dead, while somebody it started still holds its streams open; then nobody else will tell.
                self._listener.join(timeout=1.0)
                self._bury("")

    def _time_out(self, reply: Reply, phase: str, seconds: float) -> WorkerTimeoutError:
        silence = time.monotonic() - self.last_beat
        responsive = phase not in ("start", "load") and silence < HEARTBEAT_SECONDS
        # Other requests may be well: only if this one can't be stopped by itself must the worker go.
        if responsive and self._stopped_alone(reply):
            return self._timeout_error(phase, seconds, why="its process lives on for other requests")
        gone = f"its process showed no sign of life for {silence:.0f} s" if silence > 5 else ""
        error = self._timeout_error(phase, seconds, why=gone)
        self._fail(error)
        self.kill()
        return error

    def _stopped_alone(self, reply: Reply) -> bool:
        self.cancel(reply.number)
        deadline = time.monotonic() + CANCEL_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = reply.messages.get(timeout=left)
            except queue.Empty:
                return False
            if isinstance(message, ModelplugError):
                return False
            if message["op"] in ("result", "error"):
                return True
        return False

    def _timeout_error(self, phase: str, seconds: float, *, why: str) -> WorkerTimeoutError:
        return WorkerTimeoutError(
            f"{self.backend} did not {_PHASE_WORDS.get(phase, phase)} within {seconds:g} s and was stopped",
            seconds=seconds,
            backend=self.backend,
            phase=phase,
            why=why,
            stderr_tail=self.stderr_tail(),
            advice="Allow more time with --timeout SECONDS, or try another backend with --backend.",
        )

    # Talking ----------------------------------------------------------------------------------------

    def _expect(self, number: int) -> Reply:
        reply = Reply(number)
        with self._lock:
            if self._failure is not None:
                reply.messages.put(self._failure)
            else:
                self._replies[number] = reply
        return reply

    def _send_all(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        # A worker that has gone breaks the pipe; the listener knows why, and tells whoever waits.
        with contextlib.suppress(OSError), stream:
            while (frame := self._outgoing.get()) is not None:
                stream.write(frame)
                stream.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        trouble = ""
        with self._process.stdout as stream:
            try:
                while (message := read_frame(stream)) is not None:  # type: ignore[arg-type]
                    self.last_beat = time.monotonic()
                    self._dispatch(message)
            except (ProtocolError, OSError) as error:
                trouble = str(error)
        self._bury(trouble)

    def _dispatch(self, message: dict[str, Any]) -> None:
        number = 0 if message["op"] == "hello" else message.get("id")
        if not isinstance(number, int):
            return
        with self._lock:
            reply = self._replies.get(number)
        if reply is not None:
            reply.messages.put(message)

    # Ending -----------------------------------------------------------------------------------------

    def _bury(self, trouble: str) -> None:
        """Find out how the worker ended, and tell everybody who waits for it."""
        if self._closing or self._failure is not None:
            return
        try:
            # One that breaks the protocol may be very much alive.
            status: int | None = self._process.wait(timeout=0.5 if trouble else 3.0)
        except subprocess.TimeoutExpired:
            status = None
        self.spawned.end()
        self._drainer.join(timeout=2.0)
        meaning = explain_exit(status)
        what = "sent something that is no answer, and was stopped" if trouble and not status else meaning.what
        self._fail(
            WorkerCrashedError(
                f"{self.backend} {what}",
                exit_status=status,
                signal_name=meaning.signal_name,
                backend=self.backend,
                phase="generate",
                cause="protocol" if trouble and not status else meaning.cause,
                stderr_tail=self.stderr_tail(),
                why=trouble or "its process died; this program goes on",
                advice=meaning.advice,
            )
        )

    def _fail(self, error: ModelplugError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
            waiting, self._replies = list(self._replies.values()), {}
        for reply in waiting:
            reply.messages.put(self._failure)

    def close(self) -> None:
        """End the worker: politely first, then by force; calling it again changes nothing."""
        if self._closing or not self.spawned.ours:
            return
        if self.alive:
            self._closing = True
            self._outgoing.put(encode_frame({"op": "close"}))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self.deadlines.close)
        self.kill()

    def kill(self) -> None:
        """End the worker and what it started by force, and release everything held for it."""
        if self._released or not self.spawned.ours:
            return
        self._closing = True
        self.spawned.end()
        self._fail(
            BackendError(
                f"{self.backend} has been closed",
                backend=self.backend,
                phase="generate",
                cause="closed",
                advice="Load the model again.",
            )
        )
        self._outgoing.put(None)
        for thread in (self._writer, self._listener, self._drainer):
            # One that still reads has a process at the other end that escaped; it must not hold us too.
            if thread is not threading.current_thread():
                thread.join(timeout=5.0)
        self.spawned.release()
        self._released = True

    def abandon(self) -> None:
        """End the worker by force without waiting for anything; safe in a finalizer, on any thread."""
        if self.spawned.ours:
            self._closing = True
            self.spawned.end()
            self._outgoing.put(None)


def _seen_in(phase: str, error: ModelplugError) -> ModelplugError:
    """A copy of an error that everybody who waits gets, with the phase that this one waits in."""
    seen = copy.copy(error)
    seen.data = dict(error.data)
    if isinstance(seen, WorkerCrashedError):
        seen.phase = phase
        seen.data["phase"] = phase
    return seen
