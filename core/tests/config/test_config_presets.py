"""Presets and templates: commented, and settings that mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from modelplug.backends.types import BackendSettings
from modelplug.config import ConfigManager, ConfigValidator, Settings
from modelplug.config.document import Document
from modelplug.config.presets import PRESETS
from modelplug.config.structure import find_problems, structure_settings
from modelplug.config.template import field_comments, template
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from modelplug.paths import Paths


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """What the tests' engine can be told.

    Attributes:
        use_mmap: Whether to map the file; None lets
            the engine decide.
        arguments: More arguments.
        device_map: Where layers go.
        torch_dtype: Type of the weights.
    """

    use_mmap: bool | None = None
    arguments: tuple[str, ...] = ("-v",)
    device_map: str = "auto"
    torch_dtype: str = "auto"


@pytest.mark.parametrize("name", [None, *PRESETS])
def test_every_template_parses_back_to_valid_settings(name: str | None) -> None:
    """What `config template` prints can be used as it is."""
    classes = dict.fromkeys(("llamacpp", "llamafile", "ctransformers", "transformers"), EngineSettings)
    text = template(name, classes)
    assert "//" in text
    document = Document.from_text(Path("config.json"), text)
    result = ConfigValidator(classes).validate_document(document)
    assert result.valid, [str(issue) for issue in result.issues]
    assert result.issues == ()
    for backend, section in document.value["backends"].items():
        structure_settings(backend, section, EngineSettings)


def test_the_template_without_a_preset_says_nothing_but_the_defaults(paths: Paths) -> None:
    """Using it as the settings file changes nothing that is in force."""
    before = ConfigManager(paths, environ={}).settings
    paths.config.mkdir(parents=True)
    paths.config_file.write_text(template())
    assert ConfigManager(paths, environ={}).settings == before
    document = Document.from_text(Path("x"), template(None, {"engine": EngineSettings}))
    section = document.value["backends"]["engine"]
    assert structure_settings("engine", section, EngineSettings) == EngineSettings()


def test_every_setting_is_explained_in_the_template() -> None:
    """No line of the template stands without a comment, and none speaks of Python's None."""
    text = template(None, {"engine": EngineSettings})
    for kind in (Settings, EngineSettings):
        comments = field_comments(kind)
        for field in attrs.fields(kind):
            assert comments[field.name]
    assert "// Whether to map the file; null lets the engine decide." in text
    assert "None" not in text


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_explained_and_consistent(name: str) -> None:
    """Every preset says why, its comments stand on lines that exist, and it fits the schema."""
    found = PRESETS[name]
    assert found.explanation
    assert find_problems(found.settings, Settings) == []
    document = Document.from_text(Path("x"), template(found.name))
    assert document.value == found.settings
    assert found.settings["preferred_backend"] in found.settings["backends"]
    assert set(found.settings["fallback_order"]) == set(found.settings["backends"])
    for key in found.comments:
        assert document.line_of(tuple(key.split("."))) is not None


@pytest.mark.parametrize("name", ["amd", "apple", "cpu"])
def test_presets_promise_no_gpu_where_ctransformers_has_none(name: str) -> None:
    """There are no builds of ctransformers for AMD cards or Metal, so no layers are asked of it there."""
    section = PRESETS[name].settings["backends"]["ctransformers"]
    assert section["gpu_enabled"] is False
    assert "gpu_layers" not in section


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    """`nvida` leads to `nvidia`."""
    with pytest.raises(UsageError) as caught:
        template("nvida")
    assert "--preset nvidia" in caught.value.advice
