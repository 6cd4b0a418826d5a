"""The backend that `docs/writing-a-backend.md` builds: its code, as it stands there, must work."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import modelplug
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, CapabilityError, UnsupportedParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent / "docs" / "writing-a-backend.md"
MODULES = ("my_engine", "my_plugin", "my_plugin.settings", "my_plugin.engine")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plugin of the page, written to the files that its blocks name."""
    blocks = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for name, code in blocks:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(code, encoding="utf-8")
    assert {name for name, _ in blocks} == {
        "pyproject.toml",
        "my_engine.py",
        "my_plugin/__init__.py",
        "my_plugin/settings.py",
        "my_plugin/engine.py",
        "tests/test_conformance.py",
    }
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module("my_plugin")
    for name in MODULES:
        sys.modules.pop(name, None)


def load(plugin: Any) -> Any:
    """The model that the plugin makes of the demo model's file."""
    info = modelplug.inspect("demo")
    request = LoadRequest(backend="my-engine", path=info.path, info=info, context_size=64)
    return plugin.modelplug_load_model(request)


def text(model: Any, prompt: str, **params: Any) -> str:
    """What the model says."""
    return "".join(chunk.text for chunk in model.generate(prompt, modelplug.GenerateParams(**params)))


def test_the_documented_hooks_import_no_engine_and_report_every_setting(plugin: Any) -> None:
    """Detection is cheap, and each neutral setting is either honoured or explained."""
    report = plugin.modelplug_detect_backends(system=None)

    assert "my_engine" not in sys.modules
    assert report.usable
    assert report.version
    kind = plugin.modelplug_backend_settings()["my-engine"]
    names = {field.name for field in kind.__attrs_attrs__}
    assert names == {*report.settings, *report.ignored_settings}


def test_the_documented_model_streams_and_refuses(plugin: Any) -> None:
    """It generates, repeats itself with a seed, stops, and refuses what it has not declared."""
    with load(plugin) as model:
        assert text(model, "hi", seed=7, max_tokens=20) == text(model, "hi", seed=7, max_tokens=20)
        assert len(text(model, "hi", seed=7, max_tokens=20)) == 20
        assert " " not in text(model, "hi", seed=7, max_tokens=20, stop=(" ",))
        assert model.detokenize(model.tokenize("naïve")) == "naïve"
        assert model.stats.requests == 4
        with pytest.raises(UnsupportedParameterError):
            model.generate("hi", modelplug.GenerateParams(min_p=0.5))
        with pytest.raises(CapabilityError):
            model.chat([modelplug.Message("user", "hi")])
        with pytest.raises(BackendError, match="no token 256"):
            model.detokenize([256])
    with pytest.raises(BackendError, match="closed"):
        model.generate("hi")


def test_another_backend_is_not_loaded(plugin: Any) -> None:
    """The plugin answers None where it is not meant."""
    info = modelplug.inspect("demo")
    assert plugin.modelplug_load_model(LoadRequest(backend="other", path=info.path, info=info)) is None
