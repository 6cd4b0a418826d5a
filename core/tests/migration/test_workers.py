"""Many programs are planned in several processes, and the plans are those that one would make."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import pytest

from modelplug.migration import workers
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths

PLUGIN = '''
"""Programs that say `old`."""
import os, sys
from modelplug import Confidence, Detection, Family, FamilyVersion, Kind, Migration, Version

def detect(candidate):
    if b"old" in candidate.data:
        known = dict(family="prose", kind=Kind.SOURCE, version=Version(1))
        yield Detection(**known, confidence=Confidence.CERTAIN, evidence=("old",))

FAMILY = Family(
    name="prose", title="Prose", detect=detect, oldest=Version(1),
    versions=(FamilyVersion(version=Version(1)), FamilyVersion(version=Version(2))),
)

class Renewal(Migration):
    """Old becomes new."""
    family, kind, source, target = "prose", Kind.SOURCE, Version(1), Version(2)

    def upgrade(self, artifact, context):
        print("a plugin may print")
        if "die" in artifact.text and os.environ.get("MODELPLUG_TEST_WORKER") != str(os.getpid()):
            os._exit(3)
        if "model" in artifact.text:
            artifact.note(str(context.inspect("a model")))
        if "broken" in artifact.text:
            raise ValueError("broken")
        artifact.text = artifact.text.replace("old", "new")
'''


@pytest.fixture
def prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A family of programs, in a module that other processes can import."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "modelplug_tests_prose.py").write_text(PLUGIN, "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    module = importlib.import_module("modelplug_tests_prose")
    monkeypatch.delitem(sys.modules, "modelplug_tests_prose")
    monkeypatch.setitem(sys.modules, "modelplug_tests_prose", module)
    return module


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processors, and every project worth dividing."""
    monkeypatch.setattr(workers, "LEAST", 1)
    monkeypatch.setattr(workers, "_processors", lambda: 3)


class CountingPlanner(Planner):
    """A planner that remembers what it planned itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.here: list[str] = []

    def plan_candidate(self, candidate: Candidate, wishes: Wishes) -> Any:
        """Remember the file."""
        self.here.append(candidate.name)
        return super().plan_candidate(candidate, wishes)


def planner(prose: ModuleType, tmp_path: Path) -> CountingPlanner:
    """A planner of that family; every model is called by the file that asks."""
    paths = Paths.from_environment({"MODELPLUG_HOME": str(tmp_path / "home")})
    graph = MigrationGraph([prose.FAMILY], [prose.Renewal])
    return CountingPlanner(graph, paths, inspect=lambda path: SimpleNamespace(path=path))


def write(tmp_path: Path, *texts: str) -> Path:
    """A project with these programs."""
    folder = tmp_path / "project"
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"p{number}.py").write_text(text, "utf-8")
    return folder


def test_the_plans_are_the_same(
    prose: ModuleType, tmp_path: Path, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, order, changes and refusals are those of one process, which plans fewer files then."""
    folder = write(tmp_path, *(f"old {number}\n" for number in range(7)), "old broken\n", "nothing\n")
    together = planner(prose, tmp_path)
    files = together.plan([folder]).files
    assert 0 < len(together.here) < 9
    monkeypatch.setattr(workers, "_processors", lambda: 1)
    alone = planner(prose, tmp_path)
    assert files == alone.plan([folder]).files
    assert len(alone.here) == 9
    assert [file.status for file in files] == ["migrate"] * 7 + ["refused"]
    assert files[6].changes[0].after == b"new 6\n"


def test_small_projects_start_no_process(prose: ModuleType, tmp_path: Path) -> None:
    """Starting a process takes longer than planning a few files."""
    folder = write(tmp_path, "old\n", "old\n", "old\n")
    alone = planner(prose, tmp_path)
    alone.plan([folder])
    assert len(alone.here) == 3


def test_what_depends_on_a_model_is_planned_here(prose: ModuleType, tmp_path: Path, several: None) -> None:
    """A worker can't look at models as this process does, so it leaves such files to it."""
    folder = write(tmp_path, *(f"old model {number}\n" for number in range(6)))
    together = planner(prose, tmp_path)
    files = together.plan([folder]).files
    assert sorted(together.here) == [f"p{number}.py" for number in range(6)]
    assert all("a model" in file.findings[0].message for file in files)


def test_a_worker_that_dies_costs_nothing(
    prose: ModuleType, tmp_path: Path, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are planned here."""
    monkeypatch.setenv("MODELPLUG_TEST_WORKER", str(os.getpid()))
    folder = write(tmp_path, *(f"old die {number}\n" for number in range(6)))
    together = planner(prose, tmp_path)
    files = together.plan([folder]).files
    assert [file.changes[0].after for file in files] == [f"new die {n}\n".encode() for n in range(6)]
    assert len(together.here) == 6


def test_what_can_t_leave_this_process_stays_here(prose: ModuleType, tmp_path: Path, several: None) -> None:
    """A family with a function that has no name of its own is planned in one process."""
    family = attrs.evolve(prose.FAMILY, detect=lambda candidate: prose.detect(candidate))
    paths = Paths.from_environment({"MODELPLUG_HOME": str(tmp_path / "home")})
    together = CountingPlanner(MigrationGraph([family], [prose.Renewal]), paths)
    files = together.plan([write(tmp_path, "old\n", "old\n", "old\n")]).files
    assert [file.status for file in files] == ["migrate"] * 3
    assert len(together.here) == 3


def test_shares_are_of_like_size(tmp_path: Path, several: None) -> None:
    """The largest files come first, each to whom has least to do; other files stay here."""
    folder = write(tmp_path, "x" * 90, "x" * 50, "x" * 40, "x" * 10)
    (folder / "config.json").write_text("{}", "utf-8")
    candidates = [Candidate(path) for path in sorted(folder.iterdir())]
    shares = workers._shares(candidates)
    assert [[each.name for each in share] for share in shares] == [["p0.py"], ["p1.py"], ["p2.py", "p3.py"]]
