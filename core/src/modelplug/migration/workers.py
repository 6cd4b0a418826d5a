"""Plans many programs in several processes: the same plans as one would make, sooner.

To change a program takes a hundred times as long as to change a configuration. A worker is a process of its
own that gets files to plan and gives their plans back; whatever it can't do, this process does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from modelplug.migration.candidates import SOURCE_ENDINGS, Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.detection import Wishes
    from modelplug.migration.plan import FilePlan
    from modelplug.migration.planning import Planner

__all__ = ["LEAST", "plan_candidates", "serve"]

LEAST = 2_000_000
"""Bytes of programs for which it is worth it to start processes."""

_MOST = 8


def plan_candidates(planner: Planner, candidates: Sequence[Candidate], wishes: Wishes) -> list[FilePlan]:
    """The plan of every candidate, in their order.

    Args:
        planner: What plans them.
        candidates: Files and folders.
        wishes: What the user said.
    """
    shares = _shares(candidates)
    workers = [_Worker(planner, share, wishes) for share in shares[1:]]
    done: dict[Path, FilePlan] = {}
    try:
        elsewhere = {candidate.path for share in shares[1:] for candidate in share}
        for candidate in candidates:
            if candidate.path not in elsewhere:
                done[candidate.path] = planner.plan_candidate(candidate, wishes)
        for worker in workers:
            done |= worker.result()
    finally:
        for worker in workers:
            worker.stop()
    return [done.get(each.path) or planner.plan_candidate(each, wishes) for each in candidates]


def _shares(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The programs among the candidates, divided among processes by their sizes; this process comes first."""
    sizes: dict[Candidate, int] = {}
    for candidate in candidates:
        if candidate.suffix in SOURCE_ENDINGS and not candidate.is_folder:
            try:
                sizes[candidate] = candidate.size
            except OSError:
                continue  # planning it says why
    count = min(_MOST, _processors()) if sum(sizes.values()) >= LEAST else 1
    shares: list[list[Candidate]] = [[] for _ in range(count)]
    loads = [0] * count
    for candidate in sorted(sizes, key=lambda each: -sizes[each]):
        lightest = loads.index(min(loads))
        shares[lightest].append(candidate)
        loads[lightest] += sizes[candidate]
    return shares


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A process that plans some files.

    Args:
        planner: What plans them.
        candidates: The files.
        wishes: What the user said.
    """

    def __init__(self, planner: Planner, candidates: Sequence[Candidate], wishes: Wishes) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        files = [(each.path, each.given_as) for each in candidates]
        try:
            order = pickle.dumps((planner.graph, planner.paths, wishes, files))
        except (pickle.PicklingError, AttributeError, TypeError):
            return  # a plugin brought something that can't leave this process
        command = [sys.executable, "-m", "modelplug.migration.workers"]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
            assert self._process.stdin is not None
            # What the order names is found where this process finds it.
            pickle.dump(sys.path, self._process.stdin)
            self._process.stdin.write(order)
            self._process.stdin.close()
        except OSError:
            self.stop()

    def result(self) -> dict[Path, FilePlan]:
        """The plans it made, by file; those that it could not make are missing."""
        if self._process is None or self._process.stdout is None:
            return {}
        answer = self._process.stdout.read()
        if self._process.wait() != 0:
            return {}
        plans: dict[Path, FilePlan] = pickle.loads(answer)  # noqa: S301  written by `serve`
        return plans

    def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None


def serve(source: Any, sink: Any) -> None:
    """Plan the files that a stream names, and write their plans to another one.

    Args:
        source: Where the order is read.
        sink: Where the plans are written.
    """
    sys.path[:] = pickle.load(source)  # noqa: S301  written by `_Worker`
    graph, paths, wishes, files = pickle.load(source)  # noqa: S301
    from modelplug.migration.planning import Planner

    looked_at: list[str] = []

    def look(path: str) -> ModelInfo | None:
        looked_at.append(path)
        return None

    planner = Planner(graph, paths, inspect=look)
    done: dict[Path, FilePlan] = {}
    for path, given_as in files:
        looked_at.clear()
        plan = planner.plan_candidate(Candidate(path, given_as=given_as), wishes)
        if not looked_at:  # else the plan depends on a model, which the other process can look at
            done[path] = plan
    pickle.dump(done, sink)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is no answer
    with answers:
        serve(sys.stdin.buffer, answers)
