"""Starting a worker's process, and ending it together with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

from modelplug.backends.supervise_child import MARKER, descendants
from modelplug.errors import BackendError

__all__ = ["Spawned", "spawn_worker"]

# `-c` puts the current directory at the head of the path; a file there must not shadow a module.
_BOOT: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from modelplug.backends.worker import main; main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
)


class Spawned:
    """A worker's process and what holds it to this one.

    Args:
        process: The process; on POSIX the leader of a session of its own.
        lifeline: The write end of the pipe whose closing tells the worker that this process has ended; -1 for
            none.
        marker: What every process that the worker starts has in its environment.
    """

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int, marker: str) -> None:
        self.process = process
        self._lifeline = lifeline
        self._marker = marker
        self._owner = os.getpid()

    @property
    def ours(self) -> bool:
        """Whether this process started it; a forked copy of that one has no business with the worker."""
        return os.getpid() == self._owner

    def end(self) -> None:
        """Kill the worker and what it started, and collect it; calling it again kills what is left."""
        if not self.ours:
            return
        if os.name == "posix":
            # Once the leader is collected, its number may be another's; what is left is found by the marker.
            if self.process.returncode is None or sys.platform != "linux":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            # A process may start another one while we look, so look until nothing is found.
            for _ in range(50):
                strays = descendants(self._marker)
                for stray in strays:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(stray, signal.SIGKILL)
                if not strays:
                    break
        elif self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def release(self) -> None:
        """Close the lifeline."""
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)

    def __del__(self) -> None:
        self.release()


def spawn_worker(backend: str, scratch: Path | None) -> Spawned:
    """Start a worker.

    Args:
        backend: The backend's name, for messages.
        scratch: A directory that must not outlive the worker.

    Raises:
        BackendError: No process could be started.
    """
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
    reading, writing = -1, -1
    marker = uuid.uuid4().hex
    try:
        if posix:
            reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(reading), str(os.getpid()), str(scratch or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reading,) if posix else (),
            env={**os.environ, MARKER: marker},
            # A group of its own: Ctrl-C at the terminal reaches the host alone, and killing reaches all.
            start_new_session=posix,
        )
    except OSError as error:
        if writing >= 0:
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
        if reading >= 0:
            os.close(reading)
    return Spawned(process, writing, marker)
