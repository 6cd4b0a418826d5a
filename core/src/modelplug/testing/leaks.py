"""Finds what a test leaves behind: environment variables, processes, threads, temporary files."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import attrs

__all__ = ["Surroundings", "leaks_since"]

GRACE_SECONDS = 2.0
# Set by pytest itself around each phase of a test.
_OF_PYTEST = frozenset({"PYTEST_CURRENT_TEST"})


@attrs.frozen
class Surroundings:
    """The state of the process that a test must leave as it found it.

    Attributes:
        environment: The environment variables.
        children: Process ids of this process's children.
        threads: Identities of the running threads.
        temporary: The directory in which temporary files are made during the test.
    """

    environment: dict[str, str]
    children: frozenset[int]
    threads: frozenset[int]
    temporary: Path

    @classmethod
    def now(cls, temporary: Path) -> Surroundings:
        """The state at this moment.

        Args:
            temporary: The directory for temporary files.
        """
        threads = frozenset(thread.ident or 0 for thread in threading.enumerate())
        return cls(_environment(), children_of_this_process(), threads, temporary)


def leaks_since(before: Surroundings) -> list[str]:
    """What is there now that was not there before, in sentences; waits a moment for things that are ending.

    Args:
        before: The state at the beginning.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := _differences(before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _differences(before: Surroundings) -> list[str]:
    found = []
    environment = _environment()
    changed = sorted(
        name
        for name in {*environment, *before.environment}
        if environment.get(name) != before.environment.get(name)
    )
    if changed:
        found.append(f"environment variables changed: {', '.join(changed)}")
    children = children_of_this_process() - before.children
    if children:
        found.append(f"processes still running: {', '.join(_describe(pid) for pid in sorted(children))}")
    threads = [thread.name for thread in threading.enumerate() if (thread.ident or 0) not in before.threads]
    if threads:
        found.append(f"threads still running: {', '.join(threads)}")
    if before.temporary.is_dir():
        files = sorted(entry.name for entry in before.temporary.iterdir())
        if files:
            found.append(f"temporary files left: {', '.join(files)}")
    return found


def children_of_this_process() -> frozenset[int]:
    """Process ids of the running children of this process."""
    tasks = Path("/proc/self/task")
    if tasks.is_dir():
        # psutil reads every process of the machine for this, which is too slow around thousands of tests.
        pids: set[int] = set()
        for task in tasks.iterdir():
            try:
                pids.update(map(int, (task / "children").read_text().split()))
            except FileNotFoundError:  # noqa: PERF203  threads come and go one by one
                continue  # the thread has ended meanwhile
        return frozenset(pid for pid in pids if not _is_zombie(pid))
    import psutil

    return frozenset(child.pid for child in psutil.Process().children())


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


def _describe(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        command = ""
    return f"{pid} ({command.strip()[:200]})"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OF_PYTEST}
