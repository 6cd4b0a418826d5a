"""The pytest plugin that comes with modelplug: fixtures for tests of backends and of embedding programs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__: list[str] = []


@pytest.fixture
def modelplug_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `MODELPLUG_HOME`, with no other `MODELPLUG_` variable set."""
    for name in list(os.environ):
        if name.startswith("MODELPLUG_") and name != "MODELPLUG_SHARED":
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("modelplug-home")
    monkeypatch.setenv("MODELPLUG_HOME", str(home))
    return home


@pytest.fixture
def leak_check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails a test that leaks environment variables, processes, threads or temporary files."""
    from modelplug.testing.leaks import Surroundings, leaks_since

    temporary = tmp_path_factory.mktemp("tmp")
    before_environment = os.environ.get("TMPDIR")
    before_default = tempfile.tempdir
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    before = Surroundings.now(temporary)
    yield
    found = leaks_since(before)
    tempfile.tempdir = before_default
    if before_environment is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before_environment
    if found:
        pytest.fail("the test leaves something behind: " + "; ".join(found), pytrace=False)
