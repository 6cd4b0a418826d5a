"""Settings in a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelplug.paths import Paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch MODELPLUG_HOME, which the process's own environment names too."""
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> Paths:
    """The directories of that home."""
    return Paths.from_environment({"MODELPLUG_HOME": str(home)})
