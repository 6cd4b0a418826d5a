"""Models that plugins bring: what they are called, who wins a name, and what is said where one is missing."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest

from modelplug.backends.resolve import resolve_model
from modelplug.data import demo_model_path
from modelplug.data.bundled import bundled_models
from modelplug.errors import ModelNotFoundError
from modelplug.hookspecs import ENTRY_POINT_GROUP, HOOKSPEC_VERSION, hookimpl
from modelplug.plugins import PluginManager
from modelplug.runtime import Runtime

RuntimeOf = Callable[..., Runtime]


class Distribution(importlib_metadata.Distribution):
    """A distribution that is installed nowhere."""

    def __init__(self, name: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"

    def read_text(self, filename: str) -> str | None:
        """Give its only file."""
        return self._text if filename in ("METADATA", "PKG-INFO") else None

    def locate_file(self, path: Any) -> Any:
        """Say where a file would be."""
        return Path("/nowhere") / path


@pytest.fixture
def runtime_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeOf:
    """Makes a runtime with plugins, each of which answers with the models given for it."""

    def entry_point(name: str, answer: object, distribution: str) -> Any:
        module = types.ModuleType(f"in_process_plugin_{name.replace('-', '_')}")
        module.MODELPLUG_HOOKSPEC_VERSION = HOOKSPEC_VERSION  # type: ignore[attr-defined]

        @hookimpl
        def modelplug_bundled_models() -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        module.modelplug_bundled_models = modelplug_bundled_models  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        found = importlib_metadata.EntryPoint(name, module.__name__, ENTRY_POINT_GROUP)
        return found._for(Distribution(distribution))  # type: ignore[no-untyped-call]

    def make(distributions: dict[str, str] | None = None, /, **answers: Any) -> Runtime:
        environ = {"MODELPLUG_HOME": str(tmp_path / "home")}
        runtime = Runtime(environ=environ)
        named = {name.replace("_", "-"): answer for name, answer in answers.items()}
        points = [
            entry_point(name, answer, (distributions or {}).get(name, f"{name}-plugin"))
            for name, answer in named.items()
        ]
        runtime.plugins = PluginManager(paths=runtime.paths, environ=environ, entry_points=points)
        return runtime

    return make


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model file."""
    file = tmp_path / "plugin" / "tiny.gguf"
    file.parent.mkdir()
    file.write_bytes(demo_model_path().read_bytes())
    return file


def test_a_plugin_brings_a_model_by_name(runtime_of: RuntimeOf, tiny: Path) -> None:
    """The name leads to the plugin's file, and the list says who brought it, after modelplug's own."""
    runtime = runtime_of(toys={"tiny": tiny})

    assert resolve_model("tiny", runtime) == tiny
    assert [(model.name, model.distribution) for model in bundled_models(runtime.plugins).values()] == [
        ("demo", "modelplug"),
        ("tiny", "toys-plugin"),
    ]


def test_a_file_of_that_name_is_reached_with_a_path(
    runtime_of: RuntimeOf, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `demo`, the bare name is the bundled model and `./name` is the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(b"x")
    runtime = runtime_of(toys={"tiny": tiny})

    assert resolve_model("tiny", runtime) == tiny
    assert resolve_model("./tiny", runtime) == tmp_path / "tiny"


def test_plugins_are_not_asked_about_files_and_demo(runtime_of: RuntimeOf, tiny: Path) -> None:
    """What no bundled model can be called is resolved without importing a plugin."""
    runtime = runtime_of(broken=RuntimeError("asked"))

    assert resolve_model("demo", runtime) == demo_model_path()
    assert resolve_model(tiny, runtime) == tiny
    assert [str(record.state) for record in runtime.plugins.records] == ["found"]


def test_a_name_that_the_user_has_given_stays_theirs(runtime_of: RuntimeOf, tiny: Path) -> None:
    """A plugin that is installed later does not take over the name of a model of one's own."""
    runtime = runtime_of(toys={"tiny": tiny})
    runtime.history.add_model("tiny", demo_model_path())

    assert resolve_model("tiny", runtime) == demo_model_path()


def test_of_two_plugins_with_one_name_the_first_has_it(runtime_of: RuntimeOf, tiny: Path) -> None:
    """The second is told so, and what else it brings is there."""
    other = tiny.with_name("other")
    runtime = runtime_of(beta={"tiny": other, "more": other}, alpha={"tiny": tiny})
    found = bundled_models(runtime.plugins)

    assert {name: model.path for name, model in found.items() if model.plugin} == {
        "tiny": tiny,
        "more": other,
    }
    (problem,) = runtime.plugins.problems
    assert "plugin 'beta'" in problem
    assert "a model named 'tiny', which alpha-plugin brings already" in problem
    assert "modelplug plugins disable alpha" in problem


def test_this_projects_plugins_have_the_better_claim(runtime_of: RuntimeOf, tiny: Path) -> None:
    """A third party can't take over the name of a model that this project brings."""
    shadow = tiny.with_name("other")
    runtime = runtime_of({"zoo": "modelplug-zoo"}, aaa={"tiny": shadow}, zoo={"tiny": tiny})

    assert bundled_models(runtime.plugins)["tiny"].path == tiny


def test_demo_itself_can_not_be_taken(runtime_of: RuntimeOf, tiny: Path) -> None:
    """A plugin that brings a `demo` is told that the name is modelplug's."""
    runtime = runtime_of(toys={"demo": tiny})

    assert bundled_models(runtime.plugins)["demo"].path == demo_model_path()
    assert "which modelplug brings already" in runtime.plugins.problems[0]


def test_a_plugin_that_fails_hides_no_other(runtime_of: RuntimeOf, tiny: Path) -> None:
    """What raises or returns nonsense is set apart; the other models are there."""
    runtime = runtime_of(bad=RuntimeError("no"), worse={"A name": tiny}, good={"tiny": tiny})

    assert list(bundled_models(runtime.plugins)) == ["demo", "tiny"]
    assert len(runtime.plugins.problems) == 2


def test_a_model_that_the_installation_lacks_is_named(runtime_of: RuntimeOf, tiny: Path) -> None:
    """The error says whose installation it is, and what to do."""
    tiny.unlink()
    with pytest.raises(ModelNotFoundError, match="tiny is missing from this installation of toys-") as caught:
        resolve_model("tiny", runtime_of(toys={"tiny": tiny}))
    assert caught.value.path == tiny
    assert "plugins show toys" in caught.value.advice


def test_near_names_of_bundled_models_are_suggested(runtime_of: RuntimeOf, tiny: Path) -> None:
    """A mistyped name is answered with the bundled one that it resembles."""
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model("tinny", runtime_of(toys={"tiny": tiny}))
    assert caught.value.advice.startswith("Did you mean tiny? ")


def test_a_model_of_a_known_plugin_that_is_absent_says_how_to_get_it(runtime_of: RuntimeOf) -> None:
    """`demo-resnet-bk` without its plugin is not simply unknown."""
    with pytest.raises(ModelNotFoundError, match="it comes with the backend resnet-bk") as caught:
        resolve_model("demo-resnet-bk", runtime_of())
    assert "modelplug-resnet-bk" in caught.value.why
    assert "pip install" in caught.value.advice
