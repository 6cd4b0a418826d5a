"""What somebody who comes from GGUF Loader does in Python, with the names that its migration guide has."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import modelplug
from modelplug import (
    BackendManager,
    BackendSelector,
    BackendTester,
    ConfigManager,
    ConfigMigrator,
    ConfigOptimizer,
    ConfigValidator,
    GGUFModel,
    MigrationDiagnostics,
    ModelBenchmark,
    ModelConverter,
    ModelInspector,
    ModelTester,
    OptimizationWizard,
    PerformanceComparer,
    PerformanceMonitor,
    SystemChecker,
)
from modelplug.data import demo_model_path

pytest.importorskip("modelplug_llamacpp")
pytest.importorskip("modelplug_migrators")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def old_settings(tmp_path: Path) -> Path:
    """A settings file as GGUF Loader wrote it."""
    path = tmp_path / "config.json"
    old = {"model_path": str(demo_model_path()), "n_gpu_layers": 35, "n_ctx": 512, "n_batch": 512}
    path.write_text(json.dumps(old))
    return path


def test_the_machine_is_looked_at() -> None:
    """Engines are found, and each says whether it can be used and why not."""
    usable = BackendManager().detect_available_backends()
    assert "llamacpp" in usable
    assert str(usable)
    for name, status in SystemChecker().check_backend_compatibility().items():
        assert status.compatible == (name in usable)
        assert status.compatible or ", ".join(status.issues)
    recommendation = BackendSelector().get_recommendation()
    assert recommendation.backend in usable
    assert recommendation.reason
    assert str(recommendation.performance_estimate)


def test_speed_before_and_after(tmp_path: Path) -> None:
    """A baseline goes through a JSON file; compared with it, each change is a number of percent."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(ModelBenchmark().run_comprehensive_test(), indent=2))
    found = PerformanceComparer().compare_with_baseline(str(path))
    for change in (found.loading_time_change, found.inference_speed_change, found.memory_usage_change):
        assert math.isfinite(change)
        assert f"{change:+.1f}%"
    assert f"{found.gpu_utilization_change:+.1f}%"
    assert abs(found.overall_improvement) >= 0


def test_settings_are_migrated_and_can_be_reset(old_settings: Path) -> None:
    """Old settings become valid new ones, and `reset_to_defaults` with another engine is saved."""
    assert ConfigMigrator().migrate_from_legacy(str(old_settings))
    migrated = ConfigManager()
    outcome = ConfigValidator().validate_config(str(migrated.path))
    assert outcome.valid, list(outcome.issues)
    migrated.reset_to_defaults()
    migrated.set_backend("ctransformers")
    migrated.save()
    assert "ctransformers" in Path(migrated.path).read_text()
    assert "modelplug" in str(MigrationDiagnostics().generate_report())


def test_models_are_tried_out() -> None:
    """Models load and are tested; a broken one is a result like others, which can be printed."""
    path = str(demo_model_path())
    model = GGUFModel()
    result = model.load(path)
    assert result.success, result.error
    assert f"{result.backend} {result.load_time:.2f}s {result.memory_usage}MB"
    model.close()
    for outcome in ModelTester().test_all_models([path, "/nowhere/model.gguf"]).values():
        assert f"{outcome.tokens_per_second:.1f} tok/s"
        assert outcome.success == (outcome.backend == "llamacpp")
        assert outcome.success or (outcome.error and outcome.suggestion)
    engines = BackendTester().benchmark_all_backends()
    best, _ = max(engines.items(), key=lambda engine: engine[1].performance)
    assert engines[best].success


def test_a_model_is_inspected_and_converted_if_it_must_be() -> None:
    """A GGUF file says what can run it, and needs no conversion; engines can be tried by name."""
    path = str(demo_model_path())
    info = ModelInspector().inspect_model(path)
    assert info.format == "gguf"
    assert "llamacpp" in info.compatible_backends
    assert not ModelConverter().needs_conversion(path)
    model = GGUFModel()
    with pytest.raises(modelplug.ModelplugError):
        model.load_with_backend(path, "no-such-engine")
    assert model.load_with_backend(path, "llamacpp").success
    model.close()


def test_settings_are_optimised_and_usage_is_looked_at() -> None:
    """What the optimiser and the wizard propose can be applied, also where it is nothing."""
    optimizer = ConfigOptimizer()
    optimizer.apply_config(optimizer.optimize_for_hardware())
    wizard = OptimizationWizard()
    wizard.apply_recommendations(wizard.analyze_usage_patterns())
    monitor = PerformanceMonitor()
    monitor.start_continuous_monitoring()
    assert all(str(suggestion) for suggestion in monitor.get_optimization_insights().suggestions)
