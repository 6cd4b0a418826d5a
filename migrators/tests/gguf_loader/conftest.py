"""What the tests of this family share: plans in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import hypothesis
import pytest

from modelplug.documents import read_document
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.migration.steps import Kind
from modelplug.paths import Paths
from modelplug_migrators.gguf_loader.family import FAMILY, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.plan import FilePlan

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("migrators", deadline=None)
hypothesis.settings.load_profile("migrators")

SAMPLES = Path(__file__).parent / "samples"


@attrs.define
class Workshop:
    """Plans migrations of texts and files, and writes nothing but the files it is given texts for.

    Attributes:
        folder: Where files are put.
        models: What looking at a model finds, by path.
    """

    folder: Path
    models: dict[str, ModelInfo] = attrs.field(factory=dict)

    @property
    def paths(self) -> Paths:
        """The folders of modelplug itself."""
        home = self.folder / "modelplug-home"
        return Paths(config=home, data=home, cache=home / "cache", logs=home / "logs")

    @property
    def planner(self) -> Planner:
        """A planner that knows this family only."""
        return Planner(MigrationGraph([FAMILY], STEPS), self.paths, inspect=self.models.get)

    def put(self, content: object, name: str = "config.json") -> Path:
        """A file with this content: bytes, text, or values to write as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, (str, bytes)) else json.dumps(content, indent=2)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def plan(
        self,
        content: object,
        *,
        name: str = "config.json",
        source: str = "",
        target: str = "",
        **options: str,
    ) -> FilePlan:
        """What would become of a file with this content."""
        return self.plan_path(self.put(content, name), source=source, target=target, **options)

    def candidate(self, path: Path) -> Candidate:
        """A file or folder as detection sees it."""
        return Candidate(path)

    def value(self, text: str | bytes) -> Any:
        """What a text holds, comments aside."""
        return read_document(text.encode() if isinstance(text, str) else text, "json").value

    def plain(self, plan: FilePlan) -> str:
        """What a planned file would hold, as plain JSON."""
        return json.dumps(value_of(plan))

    def plan_path(self, path: Path, *, source: str = "", target: str = "", **options: str) -> FilePlan:
        """What would become of a file or folder."""
        kind = Kind.HOME if path.is_dir() else Kind.CONFIG
        wishes = Wishes(source=source, target=target, options=options, kind=kind if source else None)
        return self.planner.plan_candidate(Candidate(path), wishes)

    def migrate(self, content: object, *, name: str = "config.json", target: str = "", **options: str) -> Any:
        """What a file with this content would hold afterwards, as plain data."""
        return value_of(self.plan(content, name=name, target=target, **options))


def value_of(plan: FilePlan) -> Any:
    """What the file would hold afterwards."""
    assert plan.status == "migrate", plan.error or plan.status
    (change,) = plan.changes
    assert change.after is not None
    return read_document(change.after, "json").value


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Plans migrations in a folder of this test."""
    return Workshop(tmp_path)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder with a file of every layout there was."""
    return SAMPLES


@pytest.fixture(scope="session")
def read_value() -> Callable[[FilePlan], Any]:
    """Gives what a planned file would hold."""
    return value_of
