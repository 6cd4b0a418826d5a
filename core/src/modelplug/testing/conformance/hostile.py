"""Clauses on files that are damaged or made to do harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.errors import ModelplugError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.damage import doubtful_models, useless_models

__all__ = ["HostileFileClauses"]


class HostileFileClauses(ConformanceBase):
    """No file makes anything but a `ModelplugError`, and none brings the host down."""

    def _error_of(self, path: Path, *, generate: bool) -> Exception | None:
        """What loading a model, and perhaps generating with it, raises; None if it works."""
        try:
            with self.load(path) as model:
                if generate:
                    self.ask(model, params=self.greedy(max_tokens=4))
        except Exception as error:  # noqa: BLE001  whichever it is, the tests judge it
            return error
        return None

    def test_useless_files_are_refused(self, conformance_path: Path, tmp_path: Path) -> None:
        """Files that are empty, cut off or something else are refused with an error of modelplug's family."""
        loaded, wrong = [], []
        for name, path in useless_models(conformance_path, tmp_path):
            error = self._error_of(path, generate=False)
            if error is None:
                loaded.append(name)
            elif not isinstance(error, ModelplugError):
                wrong.append(f"{name}: {error!r}")
        assert not wrong, clause("ModelplugError", f"other errors come through: {'; '.join(wrong)}")
        assert not loaded, clause("modelplug_load_model", f"it loads {', '.join(loaded)}")

    def test_damaged_files_do_no_harm(
        self, conformance_model: LoadedModel, conformance_path: Path, tmp_path: Path
    ) -> None:
        """Files with wrong bits run, or are refused, or kill the worker; the host gets a `ModelplugError`."""
        wrong = []
        for name, path in doubtful_models(conformance_path, tmp_path):
            error = self._error_of(path, generate=True)
            if error is not None and not isinstance(error, ModelplugError):
                wrong.append(f"{name}: {error!r}")
        assert not wrong, clause("ModelplugError", f"other errors come through: {'; '.join(wrong)}")
        after = self.ask(conformance_model).finish_reason
        assert after == "length", clause("Model.generate", f"another model then ends with {after!r}")

    def test_no_file_at_all(self, tmp_path: Path) -> None:
        """A path where nothing is gives an error of modelplug's family."""
        self.need_engine()
        with pytest.raises(ModelplugError):
            self.load(tmp_path / "nothing.gguf")
