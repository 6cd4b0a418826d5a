"""What tests of migrations share: the lamp family, alone and as an installed plugin."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths

LAMP = Path(__file__).parent / "lamp"
CRATE = Path(__file__).parent / "crate"
METADATA = "Metadata-Version: 2.1\nName: modelplug-{name}\nVersion: 1.0\n"
ENTRY_POINTS = "[modelplug]\n{name} = modelplug_{name}\n"


@pytest.fixture(scope="session")
def lamp() -> ModuleType:
    """The module of the lamp family, which is no package of the tests."""
    name = "modelplug_tests_lamp"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, LAMP / "modelplug_lamp.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def graph(lamp: ModuleType) -> MigrationGraph:
    """The lamp family and its steps."""
    return MigrationGraph([lamp.LAMP], [lamp.TwoToThree, lamp.OneToTwo])


@pytest.fixture
def planner(graph: MigrationGraph, tmp_path: Path) -> Planner:
    """Plans migrations of lamps."""
    return Planner(graph, Paths.from_environment({"MODELPLUG_HOME": str(tmp_path / "home")}))


@pytest.fixture
def lamp_plugin(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The lamp family installed as the only plugin; gives the home that is in force."""
    yield from _installed("lamp", LAMP, own_home, tmp_path, monkeypatch)


@pytest.fixture
def crate_plugin(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The crate family installed as the only plugin; gives the home that is in force."""
    yield from _installed("crate", CRATE, own_home, tmp_path, monkeypatch)


def _installed(
    name: str, folder: Path, home: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    information = scratch / "site" / f"modelplug_{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(METADATA.format(name=name))
    (information / "entry_points.txt").write_text(ENTRY_POINTS.format(name=name))
    for each in (information.parent, folder):
        monkeypatch.syspath_prepend(str(each))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("MODELPLUG_PLUGINS", name)
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")
    yield home
    sys.modules.pop(f"modelplug_{name}", None)
