"""What hooks may return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click
import pytest

from modelplug.backends.types import BackendReport, BackendSettings, BackendState
from modelplug.formats.model_info import ModelInfo
from modelplug.plugins.checks import WrongTypeError, check_result

REPORT = BackendReport(name="mine", state=BackendState.CPU, engine="Mine")


@attrs.frozen(kw_only=True)
class Settings(BackendSettings):
    """Settings of a backend."""

    speed: int = 1


def changed(**fields: Any) -> BackendReport:
    """The good report with other fields, as a plugin without a type checker could make it."""
    return attrs.evolve(REPORT, **fields)


class Rude:
    """An object that does not want to be shown."""

    def __repr__(self) -> str:
        raise ValueError

    def __iter__(self) -> Any:
        raise TypeError


@pytest.mark.parametrize(
    ("hook", "value", "result"),
    [
        ("modelplug_detect_backends", REPORT, REPORT),
        ("modelplug_detect_backends", [REPORT], [REPORT]),
        ("modelplug_detect_backends", (REPORT,), [REPORT]),
        ("modelplug_detect_backends", [], []),
        ("modelplug_backend_settings", {"mine": Settings}, {"mine": Settings}),
        ("modelplug_backend_settings", {}, {}),
        ("modelplug_commands", [], ()),
        ("modelplug_bundled_models", {}, {}),
        ("modelplug_bundled_models", {"demo_2-x": Path("/no/such")}, {"demo_2-x": Path("/no/such")}),
        ("modelplug_migrations", iter([Settings]), (Settings,)),
        ("modelplug_benchmarks", {Settings}, (Settings,)),
        ("some_other_hook", 42, 42),
    ],
)
def test_good_results_pass(hook: str, value: object, result: object) -> None:
    """What the specification allows passes, with iterables as tuples."""
    assert check_result(hook, value) == result


@pytest.mark.parametrize(
    ("hook", "value", "message"),
    [
        ("modelplug_detect_backends", "mine", "returned str ('mine'), expected a BackendReport or a list"),
        ("modelplug_detect_backends", [REPORT, {}], "item 1 is dict ({}), expected a BackendReport"),
        ("modelplug_detect_backends", Rude(), "expected a BackendReport"),
        ("modelplug_detect_backends", changed(name="My engine"), "the report's name is str"),
        ("modelplug_detect_backends", changed(name=""), "the report's name is str"),
        ("modelplug_detect_backends", changed(name=None), "the report's name is NoneType"),
        ("modelplug_detect_backends", [changed(state="cpu")], "item 0.state is str ('cpu')"),
        ("modelplug_detect_backends", changed(formats=["gguf"]), "the report's formats is list"),
        ("modelplug_detect_backends", changed(formats=(1,)), "the report's formats is tuple"),
        ("modelplug_detect_backends", changed(architectures={1}), "architectures is set"),
        ("modelplug_detect_backends", changed(capabilities=None), "capabilities is NoneType"),
        ("modelplug_detect_backends", changed(version=3), "the report's version is int (3)"),
        ("modelplug_backend_settings", [Settings], "expected a dict"),
        ("modelplug_backend_settings", {1: Settings}, "a key is int (1)"),
        ("modelplug_backend_settings", {"mine": Settings()}, "the value of 'mine' is"),
        ("modelplug_backend_settings", {"mine": dict}, "the value of 'mine' is type"),
        ("modelplug_inspect_model", {"format": "mine"}, "expected a ModelInfo"),
        ("modelplug_load_model", object(), "expected a Model"),
        ("modelplug_convert_model", "/some/path", "expected a Path"),
        ("modelplug_convert_model", Path("/no/such/file"), "expected the Path of a file that exists"),
        ("modelplug_bundled_models", [Path("/a")], "expected a dict of names of models to paths"),
        ("modelplug_bundled_models", {"model.gguf": Path("/a")}, "a key is str ('model.gguf')"),
        ("modelplug_bundled_models", {"-x": Path("/a")}, "a key is str ('-x')"),
        ("modelplug_bundled_models", {"a": "/a"}, "the value of 'a' is str ('/a'), expected an absolute"),
        ("modelplug_bundled_models", {"a": Path("b")}, "expected an absolute Path"),
        ("modelplug_commands", 42, "expected an iterable of click commands"),
        ("modelplug_commands", click.Command("one"), "expected an iterable of click commands"),
        ("modelplug_commands", [click.Command(None)], "item 0 is click.core.Command"),
        ("modelplug_commands", "run", "expected an iterable of click commands"),
        ("modelplug_benchmarks", ["fast"], "item 0 is str ('fast'), expected benchmarks"),
        ("modelplug_migrations", {"a": 1}, "expected an iterable of migrations"),
        ("modelplug_migrations", Rude(), "expected an iterable of migrations"),
    ],
)
def test_wrong_results_are_refused(hook: str, value: object, message: str) -> None:
    """Anything else is refused with what came and what was expected."""
    with pytest.raises(WrongTypeError) as caught:
        check_result(hook, value)
    assert message in str(caught.value)


def test_model_info_and_paths_pass(tmp_path: Path) -> None:
    """A described model and the path of a converted one pass as they are."""
    info = ModelInfo(path=tmp_path, format="mine")

    assert check_result("modelplug_inspect_model", info) is info
    assert check_result("modelplug_convert_model", tmp_path) == tmp_path
