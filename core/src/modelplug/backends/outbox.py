"""The worker's way out: frames written whole, and chunks of a fast engine sent several at a time."""

from __future__ import annotations

import threading
import time
from typing import Any, BinaryIO, Final

from modelplug.backends.frames import write_frame

__all__ = ["Outbox"]

INTERVAL: Final = 0.002


class Outbox:
    """Sends frames from several threads over one stream.

    A chunk goes out at once unless another went out less than two milliseconds ago; then it waits for the
    rest of these, together with any that follow. An engine of a hundred tokens a second is never delayed,
    and one of thousands does not spend its time waking the host.

    Args:
        stream: Where frames go; owned by the caller.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._waiting: dict[int, list[Any]] = {}
        self._something_waits = threading.Condition(self._lock)
        self._last_flush = 0.0
        self._closed = False
        self._flusher = threading.Thread(target=self._flush_late, name="outbox", daemon=True)
        self._flusher.start()

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame now, after any chunks that wait."""
        with self._lock:
            self._flush()
            write_frame(self._stream, message)

    def send_chunk(self, request: int, chunk: Any, *, last: bool) -> None:
        """Send a chunk of a request, now or with the next ones.

        Args:
            request: The request's number.
            chunk: The chunk as `chunk_to_wire` gives it.
            last: Whether the request ends with it; it is then sent now.
        """
        with self._lock:
            was_empty = not self._waiting
            self._waiting.setdefault(request, []).append(chunk)
            if last or time.perf_counter() - self._last_flush >= INTERVAL:
                self._flush()
            elif was_empty:
                self._something_waits.notify()

    def close(self) -> None:
        """Send what waits and stop."""
        with self._lock:
            self._flush()
            self._closed = True
            self._something_waits.notify()
        self._flusher.join()

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for request, chunks in waiting.items():
                write_frame(self._stream, {"op": "chunks", "id": request, "chunks": chunks})
            self._last_flush = time.perf_counter()

    def _flush_late(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._something_waits.wait()
                if self._closed:
                    return
                pause = self._last_flush + INTERVAL - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            with self._lock:
                if time.perf_counter() - self._last_flush >= INTERVAL:
                    try:
                        self._flush()
                    except OSError:
                        # The host has gone; the thread that reads from it ends this process.
                        return
