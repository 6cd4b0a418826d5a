"""The wizard proposes, and changes nothing unless it is told to; the monitor records what everybody runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug import OptimizationWizard, PerformanceMonitor, Runtime
from modelplug.errors import ConfigError
from modelplug.history import RunRecord


def runs(runtime: Runtime, count: int = 12, **rest: Any) -> None:
    """Runs whose answers are all cut at 256 tokens."""
    values = {
        "fingerprint": "f",
        "backend": "engine",
        "prompt_tokens": 10,
        "completion_tokens": 256,
        "generate_seconds": 25.6,
        "finish_reason": "length",
        **rest,
    }
    runtime.history.record_runs([RunRecord(**values) for _ in range(count)])


def text_of(runtime: Runtime) -> str:
    """The settings file, or nothing."""
    path = runtime.paths.config_file
    return path.read_text("utf-8") if path.exists() else ""


def test_nothing_is_known_at_first() -> None:
    """An empty history gives patterns of nothing and no proposal; applying that changes nothing."""
    runtime = Runtime()
    wizard = OptimizationWizard(runtime)
    found = wizard.analyze_usage_patterns()

    assert found.patterns.runs == 0
    assert found.changes == ()
    assert found.suggestions == ()
    assert wizard.apply_recommendations(found).changes == ()
    assert text_of(runtime) == ""


def test_patterns_say_what_is_used() -> None:
    """Models, engines, and the sizes of prompts and answers."""
    runtime = Runtime()
    runs(runtime, 3, backend="a", prompt_tokens=10)
    runs(runtime, 1, backend="b", fingerprint="sha256-sampled:abcdef1234567890", prompt_tokens=50)
    runs(runtime, 5, purpose="benchmark")
    patterns = OptimizationWizard(runtime).analyze_usage_patterns().patterns

    assert patterns.runs == 4
    assert patterns.backends == {"a": 3, "b": 1}
    assert list(patterns.models) == ["f", "abcdef123456"]
    assert (patterns.prompt_tokens, patterns.completion_tokens, patterns.longest) == (10, 256, 306)


def test_a_proposal_has_old_and_new_value_reason_and_runs() -> None:
    """And nothing of it is in the settings yet."""
    runtime = Runtime()
    runs(runtime)
    (change,) = OptimizationWizard(runtime).analyze_usage_patterns().changes

    assert (change.key, change.old, change.new) == ("generation.max_tokens", None, 512)
    assert change.runs == tuple(range(12, 0, -1))
    assert str(change).startswith("generation.max_tokens: null -> 512: 12 of the last 12 answers")
    assert str(change).endswith("(runs 1-12)")
    assert text_of(runtime) == ""


def test_what_is_applied_can_be_undone_as_it_says() -> None:
    """A setting that was in the file gets its old value back, one that was not leaves the file."""
    runtime = Runtime()
    runtime.config.set("isolation", "inline")
    runtime.config.save()
    runs(runtime)
    runtime.history.add_model("mine", Path("/m.gguf"))
    runtime.history.do(lambda c: c.execute("UPDATE models SET fingerprint = 'f'"), otherwise=None)
    wizard = OptimizationWizard(runtime)
    found = wizard.analyze_usage_patterns()
    assert {change.key: change.new for change in found.changes} == {
        "generation.max_tokens": 512,
        "model_path": "mine",
    }
    applied = wizard.apply_recommendations(found)

    assert json.loads(text_of(runtime))["generation"] == {"max_tokens": 512}
    assert json.loads(text_of(runtime))["isolation"] == "inline"
    assert set(applied.undo) == {
        "modelplug config unset generation.max_tokens",
        "modelplug config unset model_path",
    }
    assert Runtime().config.settings.model_path == "mine"
    assert wizard.analyze_usage_patterns().changes == ()


def test_an_old_value_of_the_file_is_named_for_undoing() -> None:
    """The line to type sets it again."""
    runtime = Runtime()
    runtime.config.set("generation.max_tokens", 256)
    runtime.config.save()
    runs(runtime)
    wizard = OptimizationWizard(runtime)

    assert wizard.apply_recommendations(wizard.analyze_usage_patterns()).undo == (
        "modelplug config set generation.max_tokens '256'",
    )


def test_a_value_that_is_not_allowed_changes_nothing() -> None:
    """All of a proposal is written, or none of it."""
    runtime = Runtime()
    runs(runtime)
    wizard = OptimizationWizard(runtime)
    found = wizard.analyze_usage_patterns()
    bad = attrs.evolve(found.changes[0], key="generation.top_p", new=7)
    with pytest.raises(ConfigError):
        wizard.apply_recommendations(attrs.evolve(found, changes=(*found.changes, bad)))

    assert text_of(runtime) == ""
    assert runtime.config.get("generation.max_tokens") is None


def test_an_environment_variable_that_overrides_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file would be changed in vain, and the proposal says so."""
    monkeypatch.setenv("MODELPLUG_GENERATION__MAX_TOKENS", "100")
    runtime = Runtime()
    runs(runtime)
    (change,) = OptimizationWizard(runtime).analyze_usage_patterns().changes

    assert change.old == 100
    assert "MODELPLUG_GENERATION__MAX_TOKENS" in change.overridden


def test_monitoring_is_on_unless_it_was_switched_off() -> None:
    """Starting it says what is there; where it was off, it is switched on in the settings."""
    runtime = Runtime()
    runs(runtime, 2)
    state = PerformanceMonitor(runtime).start_continuous_monitoring()
    assert (state.recording, state.changed, state.runs) == (True, False, 2)
    assert text_of(runtime) == ""
    runtime.config.set("monitoring", False)
    runtime.config.save()
    state = PerformanceMonitor(runtime).start_continuous_monitoring()

    assert (state.recording, state.changed) == (True, True)
    assert Runtime().config.settings.monitoring


def test_an_environment_that_forbids_monitoring_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the settings stay as they are."""
    monkeypatch.setenv("MODELPLUG_MONITORING", "false")
    runtime = Runtime()
    state = PerformanceMonitor(runtime).start_continuous_monitoring()

    assert (state.recording, state.changed) == (False, False)
    assert text_of(runtime) == ""


def test_insights_have_suggestions_that_print() -> None:
    """As the guide's code uses them."""
    runtime = Runtime()
    runs(runtime)
    insights = PerformanceMonitor(runtime).get_optimization_insights()

    (suggestion,) = insights.suggestions
    assert f"- {suggestion}" == (
        "- 12 of the last 12 answers ended because 256 tokens were allowed. "
        "Set generation.max_tokens to 512, if they were to be longer. (runs 1-12)"
    )


def test_nothing_runs_unless_something_runs() -> None:
    """The monitor has no models to show where none is loaded."""
    assert PerformanceMonitor().running() == []
