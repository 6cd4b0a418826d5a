"""Clauses on closing a model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.errors import BackendError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.watching import Tree

__all__ = ["CloseClauses", "Closing", "close_while_generating", "temporary_files_in"]


@attrs.frozen(kw_only=True)
class Closing:
    """What came of closing a model in the middle of a request.

    Attributes:
        model: The model, closed.
        finish_reason: How the request's last chunk said it ended; None if an error ended it.
        error: The error that ended the request; None if there was none.
        processes: Processes of the engine that were still there after a while; killed since.
        files: Temporary files that were still there.
    """

    model: LoadedModel
    finish_reason: str | None
    error: BaseException | None
    processes: list[str]
    files: list[str]


class temporary_files_in:  # noqa: N801  used like a function
    """Has temporary files made in a directory, by this process and those it starts, within a block.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        self._patch.setenv("TMPDIR", str(self._directory))
        self._patch.setattr(tempfile, "tempdir", str(self._directory))

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def close_while_generating(suite: ConformanceBase, path: Path, temporary: Path) -> Closing:
    """Load a model, close it after the first chunk of a long request, and see what remains.

    Args:
        suite: The tests of the backend.
        path: The model.
        temporary: An empty directory for temporary files.
    """
    with temporary_files_in(temporary):
        model = suite.load(path)
        stream = model.generate(suite.prompts[0], suite.greedy(max_tokens=None))
        first = next(stream)
        tree = Tree(model.engine.process.pid)  # type: ignore[attr-defined]
        model.close()
        finish_reason: str | None = None
        error: BaseException | None = None
        try:
            finish_reason = suite.collect([first, *stream]).finish_reason
        except Exception as raised:  # noqa: BLE001  which one it is, a test judges
            error = raised
        processes = tree.wait_gone(suite.orphan_seconds)
        files = sorted(entry.name for entry in temporary.iterdir())
    return Closing(model=model, finish_reason=finish_reason, error=error, processes=processes, files=files)


class CloseClauses(ConformanceBase):
    """Closing ends everything, once and for all."""

    def test_closing_ends_a_running_request(self, conformance_closing: Closing) -> None:
        """A request that runs when the model is closed ends, with a last chunk or a `BackendError`."""
        error = conformance_closing.error
        assert error is None or isinstance(error, BackendError), clause(
            "Model.close", f"the request under way ended with {error!r}"
        )

    def test_closing_leaves_no_process(self, conformance_closing: Closing) -> None:
        """No process of the engine outlives the model."""
        left = conformance_closing.processes
        assert not left, clause(
            "Model.close", f"these processes were still there after it: {'; '.join(left)}"
        )

    def test_closing_leaves_no_temporary_file(self, conformance_closing: Closing) -> None:
        """No temporary file outlives the model; `LoadRequest.scratch` is the place for those needed."""
        left = conformance_closing.files
        assert not left, clause("LoadRequest.scratch", f"these temporary files remain: {', '.join(left)}")

    def test_closing_again_changes_nothing(self, conformance_closing: Closing) -> None:
        """`close` can be called again."""
        conformance_closing.model.close()

    def test_use_after_closing_is_an_error(self, conformance_closing: Closing) -> None:
        """Whatever a closed model is asked for is refused with a `BackendError`."""
        model: Any = conformance_closing.model
        for use in (
            lambda: self.ask(model),
            lambda: model.tokenize("Hello"),
            lambda: model.detokenize([1]),
            lambda: model.stats,
        ):
            with pytest.raises(BackendError):
                use()
