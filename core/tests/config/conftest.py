"""Settings in a home of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelplug.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch MODELPLUG_HOME, which the process's own environment names too."""
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> Paths:
    """The directories of that home."""
    return Paths.from_environment({"MODELPLUG_HOME": str(home)})
