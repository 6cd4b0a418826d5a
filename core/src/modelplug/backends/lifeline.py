"""How a worker notices that its host has died, however it died and whatever the engine is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["end_with_host"]

POLL_SECONDS = 0.5


def end_with_host(descriptor: int, host_pid: int, farewell: Callable[[], None]) -> None:
    """End this process soon after the host is gone.

    A thread watches the parent's process id and calls `farewell`, which cleans up and exits. Native code that
    holds the interpreter lock would keep that thread waiting, so on Linux the kernel sees to it as well: it
    sends a signal when the last descriptor of the pipe's write end, which only the host has, is closed.

    Args:
        descriptor: The read end of a pipe to which nothing is ever written.
        host_pid: The host's process id.
        farewell: Called once, in a thread; expected not to return.
    """
    if sys.platform == "linux":
        _arm_kernel(descriptor)
    if os.name == "posix":
        threading.Thread(target=_watch, args=(host_pid, farewell), name="lifeline", daemon=True).start()


def _arm_kernel(descriptor: int) -> None:
    import ctypes
    import fcntl

    # A handler written in Python would wait for the interpreter lock. The C library's own alarm() is a
    # function of one int, which is what a handler is: called with the signal's number, it has the process
    # ended that many seconds later unless it ends by itself. SIGQUIT is number 3: three seconds of grace.
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    libc.signal(int(signal.SIGQUIT), ctypes.cast(libc.alarm, ctypes.c_void_p))
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, int(signal.SIGQUIT))  # type: ignore[attr-defined,unused-ignore]
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


def _watch(host_pid: int, farewell: Callable[[], None]) -> None:
    pause = threading.Event()
    # The host may have died before this process came to ask who its parent is.
    while os.getppid() == host_pid:
        pause.wait(POLL_SECONDS)
    farewell()
