"""Watches processes, so that the ones that should have ended are found."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Tree", "run_child", "start_child", "wait_until"]

# `-c` would look for modules in the current directory first, which an installed plugin does not need.
_BOOT = "import sys; sys.path[:] = [p for p in sys.path if p]; from {module} import main; main(sys.argv[1])"
MARK = "modelplug-conformance:"


class Tree:
    """A process and everything it has started, as of now.

    A process that has lost its parent is still known here, and one that got the number of an earlier one is
    not mistaken for it.

    Args:
        pid: The process at the top.
    """

    def __init__(self, pid: int) -> None:
        self._members: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            self._members = [top, *top.children(recursive=True)]

    def living(self) -> list[psutil.Process]:
        """Those that still run."""
        return [process for process in self._members if _runs(process)]

    def wait_gone(self, seconds: float) -> list[str]:
        """Wait for all of them to end.

        Args:
            seconds: How long at most.

        Returns:
            Descriptions of those that were still running then; they have been killed now.
        """
        wait_until(lambda: not self.living(), seconds)
        left = self.living()
        described = [_describe(process) for process in left]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return described

    def cpu_seconds(self) -> float:
        """Processor time they have used so far."""
        total = 0.0
        for process in self.living():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; false if the time ran out first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def start_child(module: str, task: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start `main` of a module in a new interpreter, with a task as JSON."""
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT.format(module=module), json.dumps(task)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=os.name == "posix",
    )


def run_child(module: str, task: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What `main` of a module answers to a task, in a new interpreter.

    Raises:
        AssertionError: It gave no answer; with what it wrote to standard error.
    """
    child = start_child(module, task)
    try:
        stdout, stderr = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        Tree(child.pid).wait_gone(0)
        stdout, stderr = child.communicate()
        raise AssertionError(f"no answer within {seconds:g} s from a child process:\n{stderr}") from None
    for line in stdout.splitlines():
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line[len(MARK) :])
            return answer
    raise AssertionError(f"a child process ended with status {child.returncode} and no answer:\n{stderr}")


def answer(value: Mapping[str, Any]) -> None:
    """Print what a child process has to say; called in the child."""
    sys.stdout.write(f"\n{MARK}{json.dumps(value)}\n")
    sys.stdout.flush()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())[:120]})"
    except psutil.Error:
        return str(process.pid)
