"""The host's side of a worker: starts it, talks to it, and notices how it ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, Any, Final

from modelplug.backends.exits import explain_exit
from modelplug.backends.frames import PROTOCOL_VERSION, ProtocolError, read_frame, write_frame
from modelplug.backends.types import Deadlines
from modelplug.backends.wire import error_from_wire
from modelplug.errors import BackendError, ModelplugError, WorkerCrashedError, WorkerTimeoutError

__all__ = ["Reply", "WorkerProcess"]

STDERR_LINES: Final = 200
STDERR_LINE_LENGTH: Final = 2000
HEARTBEAT_SECONDS: Final = 60.0

# `-c` puts the current directory at the head of the path; a file there must not shadow a module.
_BOOT: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from modelplug.backends.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
# Causes that the engine's own messages may explain; a prompt that is too long explains itself.
_ENGINE_KNOWS_MORE: Final = frozenset({"exception", "out-of-memory", "crash", "start-failed"})
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
    """A worker process and the threads that listen to it.

    Args:
        backend: The backend's name, for messages.
        deadlines: How long each phase may take.

    Raises:
        WorkerTimeoutError: It did not start in time.
        BackendError: It could not be started.
    """

    def __init__(self, backend: str, deadlines: Deadlines) -> None:
        self.backend = backend
        self.deadlines = deadlines
        self.last_beat = time.monotonic()
        self._lock = threading.Lock()
        # Apart from the other, so that a worker that has stopped reading does not keep its answers from us.
        self._write_lock = threading.Lock()
        self._replies: dict[int, Reply] = {}
        self._next_number = 0
        self._failure: ModelplugError | None = None
        self._closing = False
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        hello = self._expect(0)
        self._process, self._lifeline = _spawn(backend)
        self._threads = [
            threading.Thread(target=self._listen, name=f"{backend}-replies", daemon=True),
            threading.Thread(target=self._drain, name=f"{backend}-stderr", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            greeting = self.wait(hello, "start", deadlines.start)
        except ModelplugError:
            self.kill()
            raise
        if greeting.get("protocol") != PROTOCOL_VERSION:
            self.kill()
            raise BackendError(
                f"the worker of {backend} speaks another protocol",
                backend=backend,
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
    def alive(self) -> bool:
        """Whether it still runs and can be asked."""
        return self._failure is None and self._process.poll() is None

    def stderr_tail(self, lines: int = 30) -> str:
        """The last lines the engine wrote to standard error or output."""
        return "\n".join(list(self._stderr)[-lines:])

    def resident_bytes(self) -> int:
        """Main memory used now by the worker and the processes it started, in bytes; 0 once it has ended."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += int(member.memory_info().rss)
        return total

    # Asking -----------------------------------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> Reply:
        """Send a request; its answers come in the `Reply`, which `forget` ends."""
        with self._lock:
            self._next_number += 1
            number = self._next_number
        reply = self._expect(number)
        self._write({**message, "id": number})
        return reply

    def cancel(self, number: int) -> None:
        """Ask the worker to stop one request."""
        with contextlib.suppress(BackendError):
            self._write({"op": "cancel", "id": number})

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
            WorkerTimeoutError: The deadline passed; the worker has been killed.
            ModelplugError: The worker answered with an error, or died.
        """
        try:
            message = reply.messages.get_nowait()
        except queue.Empty:
            message = self._wait_patiently(reply, phase, seconds)
        if isinstance(message, ModelplugError):
            raise message
        if message["op"] == "error":
            error = error_from_wire(message["error"])
            if isinstance(error, BackendError) and error.cause in _ENGINE_KNOWS_MORE:
                error.stderr_tail = self.stderr_tail()
                error.data["stderr_tail"] = error.stderr_tail
            raise error
        return message

    def _wait_patiently(
        self, reply: Reply, phase: str, seconds: float | None
    ) -> dict[str, Any] | ModelplugError:
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            if seconds is not None and waited >= seconds:
                raise self._time_out(phase, seconds)
            silence = time.monotonic() - max(self.last_beat, began)
            # Some engines hold the interpreter lock while they load; silence is no sign of death then.
            if phase != "load" and silence > HEARTBEAT_SECONDS:
                raise self._time_out(phase, HEARTBEAT_SECONDS)
            pause = 5.0 if seconds is None else min(5.0, seconds - waited)
            with contextlib.suppress(queue.Empty):
                return reply.messages.get(timeout=pause)

    def _time_out(self, phase: str, seconds: float) -> WorkerTimeoutError:
        silence = time.monotonic() - self.last_beat
        error = WorkerTimeoutError(
            f"{self.backend} did not {_PHASE_WORDS.get(phase, phase)} within {seconds:g} s and was stopped",
            seconds=seconds,
            backend=self.backend,
            phase=phase,
            why=f"its process showed no sign of life for {silence:.0f} s" if silence > 5 else "",
            stderr_tail=self.stderr_tail(),
            advice="Allow more time with --timeout SECONDS, or try another backend with --backend.",
        )
        self._fail(error)
        self.kill()
        return error

    # Listening --------------------------------------------------------------------------------------

    def _expect(self, number: int) -> Reply:
        reply = Reply(number)
        with self._lock:
            if self._failure is not None:
                reply.messages.put(self._failure)
            else:
                self._replies[number] = reply
        return reply

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._write_lock:
                write_frame(self._process.stdin, message)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            # The listener knows why the worker has gone; wait for it to say so.
            self._threads[0].join(timeout=6.0)
            if self._failure is not None:
                raise self._failure from error
            raise BackendError(
                f"{self.backend} has been closed",
                backend=self.backend,
                phase="generate",
                cause="closed",
                advice="Load the model again.",
            ) from error

    def _listen(self) -> None:
        assert self._process.stdout is not None
        trouble = ""
        try:
            while (message := read_frame(self._process.stdout)) is not None:  # type: ignore[arg-type]
                self.last_beat = time.monotonic()
                self._dispatch(message)
        except (ProtocolError, OSError, ValueError) as error:
            trouble = str(error)
        if not self._closing and self._failure is None:
            self._fail(self._post_mortem(trouble))

    def _dispatch(self, message: dict[str, Any]) -> None:
        number = 0 if message["op"] == "hello" else message.get("id")
        if number is None:
            return
        with self._lock:
            reply = self._replies.get(number)
        if reply is not None:
            reply.messages.put(message)

    def _drain(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        # read1-like draining by line; a "line" without end is cut so that memory stays bounded.
        while line := stream.readline(STDERR_LINE_LENGTH):
            self._stderr.append(line.decode("utf-8", "replace").rstrip("\r\n"))

    def _post_mortem(self, trouble: str) -> ModelplugError:
        try:
            status: int | None = self._process.wait(timeout=3.0)
        except subprocess.TimeoutExpired:
            self.kill()
            status = None
        self._threads[1].join(timeout=1.0)
        meaning = explain_exit(status)
        return WorkerCrashedError(
            f"{self.backend} {meaning.what}",
            exit_status=status,
            signal_name=meaning.signal_name,
            backend=self.backend,
            phase="load" if not self._next_number else "generate",
            cause=meaning.cause,
            stderr_tail=self.stderr_tail(),
            why=trouble or "its process died; this program goes on",
            advice=meaning.advice,
        )

    def _fail(self, error: ModelplugError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
            waiting, self._replies = list(self._replies.values()), {}
        for reply in waiting:
            reply.messages.put(self._failure)

    # Ending -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the worker: politely first, then by force; calling it again changes nothing."""
        if self._closing:
            return
        self._closing = True
        if self.alive:
            with contextlib.suppress(OSError, ValueError, BackendError):
                self._write({"op": "close"})
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self.deadlines.close)
        self.kill()

    def kill(self) -> None:
        """End the worker and what it started by force, and release everything held for it."""
        self._closing = True
        end_process_group(self._process)
        self._fail(
            BackendError(
                f"{self.backend} has been closed",
                backend=self.backend,
                phase="generate",
                cause="closed",
                advice="Load the model again.",
            )
        )
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            _close(stream)
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)


def end_process_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker together with the processes it started in its own group, and collect it."""
    if os.name == "posix":
        # The group may outlive its leader, so it is signalled even if the worker has ended by itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()


def _spawn(backend: str) -> tuple[subprocess.Popen[bytes], int]:
    if not sys.executable:
        raise BackendError(
            f"no worker can be started for {backend}",
            backend=backend,
            phase="start",
            cause="start-failed",
            why="this program does not say where its Python interpreter is (sys.executable is empty)",
            advice='Load with isolation="inline".',
        )
    posix = os.name == "posix"
    reading, writing = os.pipe() if posix else (-1, -1)
    command = [sys.executable, "-c", _BOOT, str(reading), str(os.getpid())]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reading,) if posix else (),
            # A group of its own: Ctrl-C at the terminal reaches the host alone, and killing reaches all.
            start_new_session=posix,
        )
    except OSError as error:
        if posix:
            os.close(writing)
        raise BackendError(
            f"the worker of {backend} could not be started",
            backend=backend,
            phase="start",
            cause="start-failed",
            why=str(error),
            advice='Load with isolation="inline", or free processes and memory.',
        ) from error
    finally:
        if posix:
            os.close(reading)
    return process, writing
