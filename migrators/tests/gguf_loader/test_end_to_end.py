"""The family in the real program: planned, applied, recognised again, and rolled back to the byte."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from modelplug.config import ConfigManager, ConfigValidator
from modelplug.data import demo_model_path
from modelplug.migration.config_migrator import ConfigMigrator
from modelplug.migration.migrator import Migrator
from modelplug.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runtime(own_home: Path) -> Iterator[Runtime]:
    """A program run with a home of its own."""
    runtime = Runtime()
    yield runtime
    runtime.history.close()


@pytest.fixture
def home(tmp_path: Path, samples: Path) -> Path:
    """An installation with a model that can be read."""
    folder = tmp_path / "user" / ".gguf-loader"
    (folder / "models").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "logs" / "gguf_loader_1.log").write_text("started\n", encoding="utf-8")
    shutil.copyfile(demo_model_path(), folder / "models" / "model.gguf")
    config = {"model_path": str(folder / "models" / "model.gguf"), "n_gpu_layers": 35, "n_ctx": 512}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    shutil.copyfile(samples / "s12_model_performance_cache.json", folder / "model_performance_cache.json")
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_goes_there_and_back(runtime: Runtime, home: Path) -> None:
    """Applying writes what the plan showed; rolling back restores every byte."""
    migrator, path = Migrator(runtime), home / "config.json"
    before = content(home)
    plan = migrator.plan([path])
    applied = migrator.apply(plan)
    assert path.read_bytes() == plan.files[0].changes[0].after
    assert ConfigValidator().validate_config(path).valid
    assert migrator.plan([path]).files[0].status == "current"
    assert applied.transaction is not None
    migrator.rollback(applied.transaction.id)
    assert content(home) == before


def test_a_home_is_carried_over_and_taken_back(runtime: Runtime, home: Path) -> None:
    """Settings and history have what the home had; the home is as it was, before and after rolling back."""
    migrator = Migrator(runtime)
    before = content(home)
    plan = migrator.plan([home])
    assert [(file.status, file.kind) for file in plan.files] == [("migrate", "home")]
    applied = migrator.apply(plan)
    assert content(home) == before
    settings = ConfigManager(runtime.paths, environ={}).settings
    assert settings.model_path == str(home / "models" / "model.gguf")
    engine = settings.preferred_backend
    assert engine is not None
    assert settings.backends[engine] == {"gpu_layers": 35, "context_size": 512}
    assert [model.path for model in runtime.history.models()] == [home / "models" / "model.gguf"]
    assert len(runtime.history.runs(imported=True)) == 2
    assert applied.transaction is not None
    migrator.rollback(applied.transaction.id)
    assert not runtime.paths.config_file.exists()
    assert runtime.history.models() == []
    assert runtime.history.runs(imported=True) == []
    assert content(home) == before


def test_the_guides_call_brings_a_backup_into_the_settings(runtime: Runtime, home: Path) -> None:
    """`ConfigMigrator().migrate_from_legacy(path)` does what the guide says it does."""
    report = ConfigMigrator(runtime).migrate_from_legacy(home / "config.json")
    assert report.success
    assert "n_gpu_layers: mapped" in str(report)
    assert ConfigManager(runtime.paths, environ={}).settings.model_path == str(home / "models" / "model.gguf")
