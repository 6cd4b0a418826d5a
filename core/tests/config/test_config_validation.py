"""Checking settings files, and recognising old ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from modelplug.backends.types import BackendSettings
from modelplug.config import ConfigValidator, ValidationResult
from modelplug.config.document import Document

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """For the tests."""

    use_mmap: bool = True


CLASSES: Mapping[str, type[BackendSettings]] = {"engine": EngineSettings}


def check(text: str) -> ValidationResult:
    """The result for a text."""
    return ConfigValidator(CLASSES).validate_document(Document.from_text(Path("config.json"), text))


def test_a_sound_file_is_valid_and_without_issues() -> None:
    """What DESIGN's settings look like raises nothing."""
    result = check(
        '{"version": 1, "preferred_backend": "engine", "fallback_enabled": true, '
        '"fallback_order": ["engine"], '
        '"backends": {"engine": {"enabled": true, "gpu_layers": 35, "use_mmap": true}}}'
    )
    assert result.valid
    assert result.issues == ()
    assert result.notes == ()


ISSUES = [
    ('{"isolaton": "inline"}', "isolaton", "error", "did you mean isolation?"),
    ('{"wholly_mine": 1}', "wholly_mine", "warning", "there is no such setting"),
    ('{"isolation": "inlin"}', "isolation", "error", 'did you mean "inline"?'),
    ('{"fallback_enabled": "yes"}', "fallback_enabled", "error", "true or false"),
    ('{"deadlines": {"load": -1}}', "deadlines.load", "error", "more than 0"),
    ('{"deadlines": 3}', "deadlines", "error", "deadlines = 3"),
    ('{"version": 3}', "version", "error", "upgrade modelplug"),
    ('{"version": true}', "version", "error", "a whole number"),
    ('{"backends": {"engine": {"gpu_layer": 1}}}', "backends.engine.gpu_layer", "error", "gpu_layers"),
    ('{"backends": {"engine": {"mine": 1}}}', "backends.engine.mine", "warning", "use_mmap"),
    ('{"backends": {"engine": 1}}', "backends.engine", "error", "must be an object"),
    ('{"backends": []}', "backends", "error", "must be an object"),
    ('{"backends": {"engin": {}}}', "backends.engin", "error", "did you mean 'engine'?"),
    ('{"preferred_backend": "engin"}', "preferred_backend", "error", "did you mean 'engine'?"),
    ('{"fallback_order": ["transformrs"]}', "fallback_order", "error", "did you mean 'transformers'?"),
    ('{"fallback_order": ["engine", "engine"]}', "fallback_order", "warning", "more than once"),
    (
        '{"fallback_order_by_format": {"gguf": "a"}}',
        "fallback_order_by_format.gguf",
        "error",
        "a list of texts",
    ),
    ('{"fallback_enabled": false, "fallback": "ask"}', "fallback", "warning", "no effect"),
    (
        '{"preferred_backend": "engine", "backends": {"engine": {"enabled": false}}}',
        "preferred_backend",
        "warning",
        "enabled: false",
    ),
    ('{"model_path": "/no/such/model.gguf"}', "model_path", "warning", "there is no such file"),
    ('{"isolation": "inline", "isolation": "process"}', "isolation", "error", "more than once"),
]


@pytest.mark.parametrize(("text", "key", "severity", "words"), ISSUES)
def test_each_fault_is_one_issue_with_key_severity_and_words(
    text: str, key: str, severity: str, words: str
) -> None:
    """A fault is named once, by its key, in words that say what is allowed or meant."""
    result = check(text)
    (issue,) = result.issues
    assert (issue.key, issue.severity) == (key, severity)
    assert words in str(issue)
    assert result.valid is (severity != "error")


def test_issues_carry_their_line_and_come_in_the_order_of_the_file() -> None:
    """Lines are those an editor shows."""
    result = check('{\n"b": 1,\n"deadlines": {\n "load": "x",\n "loads": 1},\n"a": 2}')
    dotted = check('{\n"a": 1,\n"b.c": 2,\n"backends": {"engine": {\n"d.e": 1}}}')
    assert [(issue.line, issue.key) for issue in dotted.issues] == [
        (2, "a"),
        (3, "b.c"),
        (5, "backends.engine.d.e"),
    ]
    assert [(issue.line, issue.key) for issue in result.issues] == [
        (2, "b"),
        (4, "deadlines.load"),
        (5, "deadlines.loads"),
        (6, "a"),
    ]
    assert str(result.issues[1]).startswith('line 4: deadlines.load = "x": must be')


def test_a_backend_that_is_not_installed_is_a_note_and_named_once() -> None:
    """Settings of a plugin that comes later are in order."""
    result = check(
        '{"preferred_backend": "other", "fallback_order": ["other"], "backends": {"other": {"a": 1}}}'
    )
    assert result.valid
    assert result.issues == ()
    (note,) = result.notes
    assert "no installed plugin brings a backend 'other'" in str(note)


def test_a_known_backend_that_is_not_installed_is_no_misspelling() -> None:
    """`transformers` is not taken for a misspelt `ctransformers`."""
    validator = ConfigValidator({"ctransformers": EngineSettings})
    document = Document.from_text(Path("x"), '{"preferred_backend": "transformers"}')
    assert validator.validate_document(document).valid


LEGACY = [
    {"model_path": "", "n_gpu_layers": 35, "n_ctx": 512, "n_batch": 512, "use_mlock": False},
    {"version": "1.1.0", "preferences": {}, "backend_configs": {}},
    {"version": "1.0.0", "theme": "system", "window_size": [1, 2], "ai_settings": {}},
    {"theme": "default", "window_size": [1200, 800]},
    {"backend_preference": "auto", "gpu_layers": 3},
    {"version": "2.0"},
]


@pytest.mark.parametrize("values", LEGACY)
def test_old_configurations_are_recognised_and_sent_to_migrate(
    tmp_path: Path, values: dict[str, object]
) -> None:
    """A file of an older program gets one issue that says what to run."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values))
    result = ConfigValidator(CLASSES).validate_config(file)
    assert not result.valid
    (issue,) = result.issues
    assert "an old configuration" in str(issue)
    assert "modelplug migrate plan" in str(issue)


def test_the_guides_new_configuration_is_not_taken_for_an_old_one() -> None:
    """A file without a version, as the guide prints it, is valid."""
    assert check('{"preferred_backend": "engine", "backends": {"engine": {"gpu_layers": 35}}}').valid


def test_tilde_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's own path works as printed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".gguf-loader").mkdir()
    (tmp_path / ".gguf-loader" / "config.json").write_text("{}")
    result = ConfigValidator(CLASSES).validate_config("~/.gguf-loader/config.json")
    assert result.path == tmp_path / ".gguf-loader" / "config.json"
    assert result.valid


def test_files_that_are_missing_or_broken_are_results_and_not_errors(tmp_path: Path, home: Path) -> None:
    """The validator never raises for what it finds in a file."""
    validator = ConfigValidator(CLASSES)
    assert not validator.validate_config(tmp_path / "nothing.json").valid
    broken = tmp_path / "broken.json"
    broken.write_text('{"a": }')
    result = validator.validate_config(broken)
    assert not result.valid
    assert "line 1, column 7" in str(result.issues[0])
    assert validator.validate_config().valid
    assert not home.exists()


def test_the_installed_plugins_are_asked_when_nothing_else_is_given(home: Path) -> None:
    """Without classes of its own, the validator finds those of the installed plugins."""
    classes = ConfigValidator().settings_classes
    assert all(issubclass(kind, BackendSettings) for kind in classes.values())
