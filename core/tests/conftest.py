"""What tests of several rooms share: an engine that misbehaves on demand, installed for one test."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
ENGINE = HERE / "backends" / "misbehaving"

METADATA = "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n"
ENTRY_POINTS = "[modelplug]\nmisbehaving = modelplug_misbehaving\n"


@pytest.fixture(scope="session")
def misbehaving_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the metadata of a distribution that brings the misbehaving engine."""
    directory = tmp_path_factory.mktemp("misbehaving")
    information = directory / "misbehaving-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    return directory


@pytest.fixture
def misbehaving(
    own_home: Path, misbehaving_distribution: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Install the misbehaving engine for this process and those it starts; gives the helpers to use it."""
    paths = [str(misbehaving_distribution), str(ENGINE)]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *inherited]))
    return helpers()


def helpers() -> ModuleType:
    """The module `backends/misbehaving/helpers.py`, which is no package of the tests."""
    name = "modelplug_tests_misbehaving"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ENGINE / "helpers.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
