"""Configurations that people have: planned, applied to copies, and planned again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.documents import format_of, read_document
from modelplug.migration.migrator import Migrator
from modelplug.runtime import Runtime
from modelplug_migrators.resnet_bk.configs import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NONE = {"compression_report.yaml": "results", "dataset_mixing.yaml": "datasets"}


@pytest.fixture
def runtime(own_home: Path) -> Iterator[Runtime]:
    """A program run with a home of its own."""
    runtime = Runtime()
    yield runtime
    runtime.history.close()


@pytest.fixture
def copies(real_configs: Path, tmp_path: Path) -> Path:
    """A project with copies of all of them."""
    folder = tmp_path / "project"
    shutil.copytree(real_configs, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def test_a_project_of_them_is_migrated_and_taken_back(runtime: Runtime, copies: Path) -> None:
    """One transaction brings all of them to 1.0, a second run finds nothing, and a rollback every byte."""
    migrator = Migrator(runtime)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    plan = migrator.plan([copies])
    assert {file.path.name for file in plan.files} == before.keys() - NONE.keys()
    assert {file.status for file in plan.files} == {"migrate"}
    applied = migrator.apply(plan)
    assert {file.status for file in migrator.plan([copies]).files} == {"current"}
    from modelplug.migration.candidates import Candidate

    for file in plan.files:
        issues = [issue for issue in check(Candidate(file.path)) if issue.severity.value == "error"]
        assert issues == [], file.path.name
    assert applied.transaction is not None
    migrator.rollback(applied.transaction.id)
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_no_number_is_text_for_anybody_afterwards(runtime: Runtime, copies: Path) -> None:
    """An independent reader of YAML 1.1 finds the same values as this program does."""
    yaml = pytest.importorskip("yaml")
    migrator = Migrator(runtime)
    migrator.apply(migrator.plan([copies]))
    for path in sorted(copies.glob("*.yaml")):
        if path.name not in NONE:
            data = path.read_bytes()
            assert yaml.safe_load(data) == read_document(data, format_of(path) or "").value, path.name


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_configuration_is_left_as_it_is(configs: Any, real_configs: Path, name: str) -> None:
    """It is refused in words; nothing in it is executed."""
    plan = configs.plan_path(real_configs / name)
    assert plan.status == "refused"
    assert NONE[name] in plan.error["what"]
