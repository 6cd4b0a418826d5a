"""How a worker ends when its host has died, however it died and whatever the engine is doing.

Two watch for it. A thread of the worker sees that its parent is another one now, and lets the engine free
what it holds. Native code that holds the interpreter lock would keep that thread waiting for ever, so there
is a guard as well: a process forked before anything of the engine is loaded, which does nothing but wait for
the host's end, and then, after a moment of grace, ends the worker by force and removes its scratch directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from modelplug.backends.supervise_child import MARKER, descendants

__all__ = ["end_with_host", "start_guard"]

POLL_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 3.0


def end_with_host(host_pid: int, farewell: Callable[[], None]) -> None:
    """Have `farewell` called in a thread of this process soon after the host is gone.

    Args:
        host_pid: The host's process id.
        farewell: Cleans up and exits; expected not to return.
    """
    threading.Thread(target=_watch, args=(host_pid, farewell), name="lifeline", daemon=True).start()


def _watch(host_pid: int, farewell: Callable[[], None]) -> None:
    pause = threading.Event()
    # The host may have died before this process came to ask who its parent is.
    while os.getppid() == host_pid:
        pause.wait(POLL_SECONDS)
    farewell()


def start_guard(lifeline: int, host_pid: int, scratch: str) -> int:
    """Fork the guard; must be called while this process has one thread.

    Args:
        lifeline: The read end of a pipe to which nothing is ever written, and whose write end the host holds.
        host_pid: The host's process id.
        scratch: The worker's scratch directory; empty if it has none.

    Returns:
        The guard's process id.
    """
    worker_pid = os.getpid()
    pid = os.fork()
    if pid:
        os.close(lifeline)
        return pid
    try:
        _guard(lifeline, host_pid, worker_pid, scratch)
    finally:
        os._exit(1)


def _guard(lifeline: int, host_pid: int, worker_pid: int, scratch: str) -> None:
    # Whoever waits for the worker's streams to end must not wait for this process too.
    os.closerange(0, lifeline)
    os.closerange(lifeline + 1, lifeline + 64)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _wait_for_end(lifeline, host_pid)
    deadline = time.monotonic() + GRACE_SECONDS
    while os.getppid() == worker_pid and time.monotonic() < deadline:
        time.sleep(0.02)
    if os.getppid() == worker_pid:
        os.kill(worker_pid, signal.SIGKILL)
    for pid in descendants(os.environ.get(MARKER, "")):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    # Whatever else the worker has started in its group, and this process itself.
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _wait_for_end(lifeline: int, host_pid: int) -> None:
    """Return when the host is gone."""
    waiting = select.poll()
    waiting.register(lifeline, 0)
    if sys.platform == "linux":
        # A copy that the host has forked holds the pipe open; only this tells of the host itself.
        try:
            waiting.register(os.pidfd_open(host_pid), select.POLLIN)
        except ProcessLookupError:
            return
        except OSError as error:
            # An old kernel, or a sandbox that forbids it: the pipe alone has to do.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    waiting.poll()
