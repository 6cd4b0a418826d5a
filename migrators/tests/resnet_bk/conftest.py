"""What the tests of this family share: plans in memory."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from modelplug.documents import format_of, read_document
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.migration.sources import SourceEditor
from modelplug.migration.steps import Kind, StepContext
from modelplug.paths import Paths
from modelplug_migrators.resnet_bk import source
from modelplug_migrators.resnet_bk.family import FAMILY, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.migration.account import Finding
    from modelplug.migration.plan import FilePlan, Plan

SAMPLES = Path(__file__).parent / "samples"
REAL = Path(__file__).parents[4] / "shared" / "data" / "resnet-bk-configs"


@attrs.define
class ConfigWorkshop:
    """Plans migrations of configurations, and writes nothing but the files it is given texts for.

    Attributes:
        folder: Where files are put.
    """

    folder: Path

    @property
    def planner(self) -> Planner:
        """A planner that knows this family only."""
        home = self.folder / "modelplug-home"
        paths = Paths(config=home, data=home, cache=home / "cache", logs=home / "logs")
        return Planner(MigrationGraph([FAMILY], STEPS), paths)

    def put(self, content: object, name: str = "config.yaml") -> Path:
        """A file with this content: bytes, text, or values to write as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, (str, bytes)) else json.dumps(content, indent=2)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def plan(
        self, content: object, *, name: str = "config.yaml", source: str = "", target: str = ""
    ) -> FilePlan:
        """What would become of a file with this content, named by the user."""
        return self.plan_path(self.put(content, name), source=source, target=target)

    def plan_path(self, path: Path, *, source: str = "", target: str = "") -> FilePlan:
        """What would become of a file, named by the user."""
        (file,) = self.plan_all(path, source=source, target=target).files
        return file

    def plan_all(self, path: Path, *, source: str = "", target: str = "") -> Plan:
        """What would become of everything under a path."""
        kind = Kind.CONFIG if source else None
        wishes = Wishes(source=source, target=target, family=FAMILY.name, kind=kind)
        return self.planner.plan([path], wishes)

    def after(self, plan: FilePlan) -> bytes:
        """The bytes the file would have afterwards."""
        assert plan.status == "migrate", plan.error or plan.status
        if not plan.changes:
            return plan.path.read_bytes()
        (change,) = plan.changes
        assert change.after is not None
        return change.after

    def value(self, plan: FilePlan) -> Any:
        """What the file would hold afterwards, as plain data."""
        kind = format_of(plan.path)
        assert kind is not None
        return read_document(self.after(plan), kind).value

    def migrate(
        self, content: object, *, name: str = "config.yaml", source: str = "", target: str = ""
    ) -> Any:
        """What a file with this content would hold afterwards, as plain data."""
        return self.value(self.plan(content, name=name, source=source, target=target))

    def check(self, content: object, name: str = "config.yaml") -> list[Finding]:
        """What is wrong with a configuration of 1.0."""
        assert FAMILY.check is not None
        return list(FAMILY.check(Candidate(self.put(content, name))))


@attrs.frozen
class ProgramWorkshop:
    """Brings programs to a version, in memory.

    Attributes:
        step: The step that is tried: `1.0` from 0.9.
    """

    step: str = "1.0"

    def open(self, text: str, name: str = "program.py") -> SourceEditor:
        """A program after the step, with what was told."""
        editor = SourceEditor(text.encode(), declared=name.endswith(".py"))
        upgrade: Callable[[SourceEditor, StepContext], None]
        upgrade = getattr(source, f"upgrade_source_{self.step.replace('.', '_')}")
        upgrade(editor, StepContext(path=Path(name)))
        return editor

    def migrate(self, text: str, name: str = "program.py") -> str:
        """What becomes of a program: it can be read, and a second time changes nothing."""
        after = self.open(text, name).text
        if name.endswith(".py"):
            ast.parse(after)
        assert self.open(after, name).text == after
        return after

    def told(self, text: str, name: str = "program.py") -> list[str]:
        """What is told of a program: how much it matters, the line, and the sentence."""
        return [
            f"{found.severity.value} {found.line}: {found.message}"
            for found in self.open(text, name).findings
        ]

    def todos(self, text: str, name: str = "program.py") -> list[str]:
        """The lines and sentences of what is left to a person."""
        return [told.removeprefix("todo ") for told in self.told(text, name) if told.startswith("todo ")]


@pytest.fixture
def programs() -> ProgramWorkshop:
    """Brings programs from 0.9 to 1.0."""
    return ProgramWorkshop()


@pytest.fixture
def programs_to() -> Callable[[str], ProgramWorkshop]:
    """Brings programs to another version: `programs_to("0.6")`."""
    return ProgramWorkshop


@pytest.fixture
def configs(tmp_path: Path) -> ConfigWorkshop:
    """Plans migrations of configurations in a folder of this test."""
    return ConfigWorkshop(tmp_path)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder with a file of every shape there was."""
    return SAMPLES


@pytest.fixture(scope="session")
def real_configs() -> Path:
    """The folder with configurations that people have; without it, the test is skipped."""
    if not REAL.is_dir():
        pytest.skip("there are no real configurations here")
    return REAL
