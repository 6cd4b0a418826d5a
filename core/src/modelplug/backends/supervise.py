"""Run a command in a process tree that dies when its owner does, however the owner dies.

Between the owner and the command stands a small process (`supervise_child`), whose standard input is a pipe
that only the owner holds: the lifeline. When that closes, because the owner asked or because it is gone
(closed, crashed, killed with SIGKILL), the small process ends the command's whole tree and removes its
scratch directory.

What is guaranteed, and what is not:

- The command runs in a session and process group of its own. The group gets SIGTERM, then after a grace
  period SIGKILL. On Linux, descendants that left the group are found by a marker in their environment and get
  SIGKILL as well; one that also clears its environment escapes. Elsewhere only the group is ended.
- A process that the owner forks without executing another program holds a copy of the lifeline, and the
  command lives as long as that copy does.
- On Windows there is no such process: the command gets a process group of its own, and it, what it started
  and its scratch directory go when `stop` is called or the owner exits normally. If the owner is killed
  there, the command survives it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CommandStartError", "Supervised"]

DIRECTLY = os.name == "nt"
CHILD_SCRIPT: Final = Path(__file__).with_name("supervise_child.py")
MARKER: Final = "MODELPLUG_SUPERVISED"
START_SECONDS: Final = 30.0
TAIL_BYTES: Final = 64 * 1024


class CommandStartError(ModelplugError):
    """A command could not be started at all.

    Attributes:
        command: The command and its arguments.
        error_number: The `errno` the operating system gave; 0 if it gave none.
    """

    def __init__(
        self, what: str, *, command: Sequence[str], error_number: int, why: str = "", advice: str = ""
    ) -> None:
        self.command = tuple(command)
        self.error_number = error_number
        super().__init__(what, why=why, advice=advice, command=self.command, error_number=error_number)


class Supervised:
    """A running command whose tree ends with its owner; made by `Supervised.start`.

    Methods may be called from several threads. It is a context manager; leaving the block stops the command.

    Attributes:
        command: The command and its arguments.
        log: The file that holds what the command writes.
        pid: The command's process id; it is also the id of its process group.
    """

    def __init__(self, command: Sequence[str], log: Path, grace: float) -> None:
        self.command = tuple(command)
        self.log = log
        self.pid = 0
        self._grace = grace
        self._status: int | None = None
        self._lock = threading.RLock()
        self._reports = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._scratch: Path | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        scratch: Path | None = None,
        grace: float = 3.0,
        pass_fds: Sequence[int] = (),
        shell_retry: bool = False,
        log_limit: int = 64 * 1024 * 1024,
    ) -> Supervised:
        """Start a command.

        Args:
            command: The program and its arguments; without a directory it is looked up on PATH.
            log: File that its standard output and standard error are appended to.
            cwd: Its working directory.
            env: Its environment; None takes this process's own.
            scratch: A directory that is removed once the command and the owner are done with it.
            grace: Seconds between SIGTERM and SIGKILL.
            pass_fds: File descriptors the command inherits (POSIX only).
            shell_retry: Whether a file in no format the system executes is handed to `/bin/sh`.
            log_limit: Bytes after which the log is started over; 0 never does.

        Raises:
            CommandStartError: It can't be executed; says why.
        """
        supervised = cls(command, log, grace)
        environment = dict(os.environ if env is None else env)
        if DIRECTLY:
            supervised._start_directly(cwd, environment, scratch)
        else:
            options = [repr(grace), str(log_limit), "1" if shell_retry else "0", uuid.uuid4().hex]
            options += [str(cwd or ""), str(scratch or ""), ",".join(map(str, pass_fds))]
            supervised._start_child(options, environment, pass_fds)
        return supervised

    def _start_child(self, options: list[str], environment: dict[str, str], pass_fds: Sequence[int]) -> None:
        environment[MARKER] = options[3]
        lifeline_read, self._lifeline = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    # Isolated and without site: no user code, and a start of some 15 ms.
                    [sys.executable, "-I", "-S", str(CHILD_SCRIPT), *options, *self.command],
                    stdin=lifeline_read,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(self._lifeline)
            raise self._start_error(error.errno or 0, str(error.filename or CHILD_SCRIPT)) from error
        finally:
            os.close(lifeline_read)
        deadline = time.monotonic() + START_SECONDS
        while not self.pid and self._status is None:
            if not self._read_report(max(0.0, deadline - time.monotonic())):
                tail = self.tail(5)
                self.stop()
                raise CommandStartError(
                    f"the process that supervises {self.command[0]} did not start",
                    command=self.command,
                    error_number=0,
                    why=tail or f"it gave no sign of life within {START_SECONDS:g} s",
                    advice="Check that this Python interpreter can start child processes.",
                )

    def _start_directly(self, cwd: Path | None, environment: dict[str, str], scratch: Path | None) -> None:
        import atexit

        self._scratch = scratch
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=cwd,
                    env=environment,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            raise self._start_error(error.errno or 0, str(error.filename or self.command[0])) from error
        self.pid = self._process.pid
        atexit.register(self.stop)

    def _start_error(self, number: int, name: str) -> CommandStartError:
        reason = os.strerror(number) if number else "the system gave no reason"
        return CommandStartError(
            f"can't execute {self.command[0]}",
            command=self.command,
            error_number=number,
            why=reason if name == self.command[0] else f"{reason}: {name}",
        )

    def _read_report(self, timeout: float) -> bool:
        """Take in what the supervising process says within the time; False if it said nothing."""
        assert self._process is not None
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return False
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout)[0]:
            return False
        part = os.read(descriptor, 4096)
        if not part:
            self._supervisor_gone()
            return bool(self.pid)
        *lines, self._reports = (self._reports + part).split(b"\n")
        for line in lines:
            word, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
            if word == "pid":
                self.pid = int(rest)
            elif word == "exit":
                self._status = int(rest)
            elif word == "error":
                number, _, name = rest.partition(" ")
                self._release()
                raise self._start_error(int(number), name)
        return True

    def _supervisor_gone(self) -> None:
        """Do the supervising process's work if it was killed: nobody else ends the command now."""
        assert self._process is not None
        self._process.wait()
        if self.pid and self._status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._status = -signal.SIGKILL
        self._release()

    def poll(self) -> int | None:
        """The command's exit code, or minus the number of the signal that ended it; None while it runs."""
        with self._lock:
            return self._poll(0.0)

    def _poll(self, timeout: float) -> int | None:
        if self._status is None and self._process is not None:
            if not DIRECTLY:
                self._read_report(timeout)
            else:
                try:
                    self._status = self._process.wait(timeout)
                except subprocess.TimeoutExpired:
                    self._status = None
        return self._status

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the command to end.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Returns:
            Its exit status as `poll` gives it, or None if the time ran out.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # The lock is not held for long, so that another thread can stop what this one waits for.
            left = 0.1 if deadline is None else min(0.1, max(0.0, deadline - time.monotonic()))
            with self._lock:
                status = self._poll(left)
            if status is not None or (deadline is not None and time.monotonic() >= deadline):
                return status

    def stop(self) -> int | None:
        """End the command's whole tree and have its scratch directory removed; again changes nothing.

        Returns:
            The command's exit status, if it could be learnt.
        """
        with self._lock:
            process = self._process
            if process is None:
                return self._status
            if DIRECTLY:
                self._stop_directly(process)
                return self._status
            self._close_lifeline()
            # The supervising process needs the grace period and a moment; then it is overdue.
            deadline = time.monotonic() + self._grace + 5.0
            while self._process is not None and time.monotonic() < deadline:
                self._read_report(max(0.0, deadline - time.monotonic()))
            if self._process is not None:
                process.kill()
                self._supervisor_gone()
            return self._status

    def _stop_directly(self, process: subprocess.Popen[bytes]) -> None:
        import atexit
        import shutil

        import psutil

        tree = [process.pid]
        with contextlib.suppress(psutil.NoSuchProcess):
            tree += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        for pid in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        self._status = process.wait()
        self._process = None
        atexit.unregister(self.stop)
        if self._scratch is not None:
            # A file that is still open stays behind; there is nobody to remove it later.
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _release(self) -> None:
        """Give up what belongs to the supervising process, which is ending or gone."""
        self._close_lifeline()
        if self._process is not None:
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process.wait()
            self._process = None

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log, without trailing blanks; empty if there is none."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __del__(self) -> None:
        # The lifeline must not outlive the object; waiting for the tree to end is `stop`'s business.
        if getattr(self, "_lifeline", -1) >= 0:
            self._close_lifeline()
