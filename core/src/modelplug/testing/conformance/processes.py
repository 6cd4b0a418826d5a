"""Clauses on sudden death: of the engine's process, of its helpers, of the host."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import Chunk
from modelplug.errors import BackendError, WorkerCrashedError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.closing import temporary_files_in
from modelplug.testing.conformance.watching import MARK, Tree, start_child

__all__ = ["ProcessClauses"]

needs_signals = pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")


def helpers(tree: Tree) -> list[psutil.Process]:
    """The processes that an engine has started; those that the worker has forked are modelplug's own."""
    (worker, *others) = tree.living()
    return [process for process in others if process.cmdline() != worker.cmdline()]


class ProcessClauses(ConformanceBase):
    """Whoever dies, the others notice, and nothing is left behind."""

    def _go_on(self, model: LoadedModel, stream: Iterator[Chunk]) -> None:
        """Use an engine that was killed: it may have been through with the first request before it died."""
        self.collect(stream)
        self.ask(model)

    @needs_signals
    def test_engine_is_killed(
        self, conformance_model: LoadedModel, conformance_path: Path, tmp_path: Path
    ) -> None:
        """An engine killed while it generates is a `WorkerCrashedError`; other models and the host go on."""
        with temporary_files_in(tmp_path):
            with self.load(conformance_path) as victim:
                tree = Tree(victim.engine.process.pid)  # type: ignore[attr-defined]
                stream = victim.generate(self.prompts[0], self.greedy(max_tokens=None))
                next(stream)
                os.kill(victim.engine.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
                with pytest.raises(WorkerCrashedError) as caught:
                    self._go_on(victim, stream)
                with pytest.raises(BackendError):
                    self.ask(victim)
            left = tree.wait_gone(self.orphan_seconds)
        assert caught.value.signal_name == "SIGKILL", clause(
            "WorkerCrashedError.signal_name", f"it is {caught.value.signal_name!r}"
        )
        assert not left, clause("Model.close", f"processes of a killed engine remain: {'; '.join(left)}")
        files = [entry.name for entry in tmp_path.iterdir()]
        assert not files, clause("LoadRequest.scratch", f"a killed engine leaves {', '.join(files)}")
        after = self.ask(conformance_model).finish_reason
        assert after == "length", clause("Model.generate", f"another model then ends with {after!r}")

    @needs_signals
    def test_helper_processes_are_killed(
        self, conformance_model: LoadedModel, conformance_path: Path
    ) -> None:
        """Where the engine has processes of its own, their death is no other error than a `BackendError`."""
        if not helpers(Tree(conformance_model.engine.process.pid)):  # type: ignore[attr-defined]
            return
        with self.load(conformance_path) as victim:
            tree = Tree(victim.engine.process.pid)  # type: ignore[attr-defined]
            stream = victim.generate(self.prompts[0], self.greedy(max_tokens=None))
            next(stream)
            for helper in helpers(tree):
                with contextlib.suppress(psutil.NoSuchProcess):
                    helper.kill()
            # Those that the engine can do without may die unnoticed.
            with contextlib.suppress(BackendError):
                self._go_on(victim, stream)
        left = tree.wait_gone(self.orphan_seconds)
        assert not left, clause("Model.close", f"processes remain: {'; '.join(left)}")

    @needs_signals
    def test_host_is_killed(self, conformance_path: Path, tmp_path: Path) -> None:
        """When the host is killed while the engine generates, no process and no temporary file survives."""
        wishes = self.wishes(isolation="process")
        wishes.pop("deadlines")
        task = {
            "path": str(conformance_path),
            "wishes": wishes,
            "prompt": self.prompts[0],
            "temporary": str(tmp_path),
        }
        host = start_child("modelplug.testing.conformance.host_child", task)
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert host.stdout is not None
        reader = threading.Thread(target=_first_answer, args=(host.stdout, lines))
        reader.start()
        try:
            answer = lines.get(timeout=2 * self.hang_seconds)
            assert answer, f"the host did not get as far as generating:\n{host.stderr.read()}"  # type: ignore[union-attr]
            assert json.loads(answer)["generating"]
            tree = Tree(host.pid)
        finally:
            host.kill()
            host.wait()
            reader.join()
            for stream in (host.stdout, host.stderr):
                if stream is not None:
                    stream.close()
        left = tree.wait_gone(self.orphan_seconds)
        assert not left, clause(
            "modelplug_load_model",
            f"{self.orphan_seconds:g} s after the host was killed there are still {'; '.join(left)}; start "
            "helpers with modelplug.backends.supervise, or end them when standard input closes",
        )
        files = [entry.name for entry in tmp_path.iterdir()]
        assert not files, clause("LoadRequest.scratch", f"a killed host leaves {', '.join(files)}")


def _first_answer(stream: object, lines: queue.SimpleQueue[str]) -> None:
    """Pass the first marked line on, or an empty one at the end of the stream."""
    for line in stream:  # type: ignore[attr-defined]
        if line.startswith(MARK):
            lines.put(line[len(MARK) :])
            return
    lines.put("")
