"""Finding backends: joining what plugins report, names that clash, and engines that are not there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.backends.detect import BackendManager, SystemChecker
from modelplug.backends.known import KNOWN_BACKENDS
from modelplug.backends.types import BackendState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_reports_say_which_plugin_and_distribution_they_come_from(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """The core fills in the plugin's name, its distribution and the version."""
    report = kit.report("mine", plugin="", distribution="")
    runtime = runtime_of([plugin("brings-mine", report, distribution="dist-mine", version="3.1")])

    found = BackendManager(runtime).reports()["mine"]

    assert (found.plugin, found.distribution) == ("brings-mine", "dist-mine 3.1")


def test_only_usable_backends_are_available(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """`detect_available_backends` leaves out what is broken or not installed; `reports` has them all."""
    answer = [
        kit.report("fine"),
        kit.report("torn", "broken", cause="no library"),
        kit.report("on-gpu", "gpu"),
    ]
    manager = BackendManager(runtime_of([plugin("three", answer)]))

    assert list(manager.detect_available_backends()) == ["on-gpu", "fine"]
    assert set(manager.reports()) == {"on-gpu", "fine", "torn", *KNOWN_BACKENDS}


def test_what_is_available_prints_as_a_readable_line(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """Printing the mapping names each backend with its state; otherwise it is a dict like any other."""
    manager = BackendManager(runtime_of([plugin("two", [kit.report("fine"), kit.report("on-gpu", "gpu")])]))
    available = manager.detect_available_backends()

    assert f"{available}" == "on-gpu (gpu), fine (cpu)"
    assert isinstance(available, dict)
    assert available == {name: manager.reports()[name] for name in ("on-gpu", "fine")}
    assert str(BackendManager(runtime_of()).detect_available_backends()) == "none"


def test_the_default_engine_comes_first_among_those_to_install(runtime_of: Callable[..., Any]) -> None:
    """Where nothing is installed, llama.cpp is listed, and so advised, before the others."""
    assert next(iter(BackendManager(runtime_of()).reports())) == "llamacpp"


def test_backends_of_this_project_are_listed_with_what_to_type_when_absent(
    runtime_of: Callable[..., Any],
) -> None:
    """Every first-party backend without a plugin is `not-installed`, with an install command."""
    reports = BackendManager(runtime_of()).reports()

    assert set(reports) == {"llamacpp", "ctransformers", "transformers", "llamafile", "resnet-bk"}
    for name, report in reports.items():
        assert report.state is BackendState.NOT_INSTALLED
        assert KNOWN_BACKENDS[name].distribution in report.cause
        assert "-m pip install " in report.install
        assert KNOWN_BACKENDS[name].folder in report.install
        assert sys.executable in report.install


def test_the_bundled_distribution_keeps_its_name_against_another(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """A third-party plugin that shadows a bundled backend is left out and reported, whatever its name."""
    shadow = plugin("aaa-shadow", kit.report("llamacpp", version="evil"))
    rightful = plugin("llamacpp", kit.report("llamacpp", version="good"), distribution="modelplug_llamacpp")
    runtime = runtime_of([shadow, rightful])

    report = BackendManager(runtime).reports()["llamacpp"]

    assert report.version == "good"
    (problem,) = runtime.plugins.problems
    assert "aaa-shadow" in problem
    assert "'llamacpp'" in problem
    assert "modelplug_llamacpp 1.0" in problem


def test_two_third_party_backends_of_one_name_are_settled_by_plugin_name(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """Without a rightful owner the first plugin by name wins, in whatever order they are installed."""
    one, two = plugin("one", kit.report("same", version="1")), plugin("two", kit.report("same", version="2"))

    for entry_points in ([one, two], [two, one]):
        assert BackendManager(runtime_of(entry_points)).reports()["same"].version == "1"


def test_a_plugin_that_raises_does_not_hide_the_others(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """Detection goes on without a plugin that fails, and the failure is reported against it."""

    def fail(system: Any) -> Any:
        msg = "no such driver"
        raise RuntimeError(msg)

    runtime = runtime_of([plugin("bad", fail), plugin("good", kit.report("good"))])

    assert list(BackendManager(runtime).detect_available_backends()) == ["good"]
    assert any("no such driver" in problem for problem in runtime.plugins.problems)


def test_a_failed_plugin_of_a_known_backend_makes_it_broken_and_says_why(
    plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """A bundled plugin that raises is `broken` with its own cause, not `not installed`."""

    def fail(system: Any) -> Any:
        msg = "half an installation"
        raise RuntimeError(msg)

    runtime = runtime_of([plugin("llamacpp", fail, distribution="modelplug-llamacpp")])

    report = BackendManager(runtime).reports()["llamacpp"]

    assert report.state is BackendState.BROKEN
    assert "half an installation" in report.cause
    assert report.plugin == "llamacpp"


def test_a_disabled_plugin_of_a_known_backend_says_how_to_enable_it(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """A bundled plugin that is switched off is not taken for one that is not installed."""
    entry = plugin("llamacpp", kit.report("llamacpp"), distribution="modelplug-llamacpp")
    runtime = runtime_of([entry], no_plugins=True)

    report = BackendManager(runtime).reports()["llamacpp"]

    assert report.state is BackendState.BROKEN
    assert "disabled" in report.cause
    assert "--no-plugins" in report.cause + report.install


def test_plugins_are_asked_once_until_refreshed(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """Detection is remembered within a manager, and `refresh` forgets it."""
    asked: list[Any] = []

    def answer(system: Any) -> Any:
        asked.append(system)
        return kit.report("counted")

    manager = BackendManager(runtime_of([plugin("counted", answer)]))
    manager.reports()
    manager.detect_available_backends()
    assert len(asked) == 1

    manager.refresh()
    manager.reports()
    assert len(asked) == 2


def test_system_checker_gives_compatible_and_issues(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """The guide's names work: `.compatible` and `.issues` for every backend."""
    answer = [kit.report("fine"), kit.report("torn", "broken", cause="no library")]
    checker = SystemChecker(runtime_of([plugin("two", answer)]))

    found = checker.check_backend_compatibility()

    assert (found["fine"].compatible, found["fine"].issues) == (True, ())
    assert (found["torn"].compatible, found["torn"].issues) == (False, ("no library",))


def test_managers_can_be_made_without_arguments(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide calls `BackendManager()` and `SystemChecker()`; both answer for this machine."""
    monkeypatch.setenv("MODELPLUG_DISABLE_PLUGINS", "*")

    assert set(BackendManager().reports()) >= set(KNOWN_BACKENDS)
    assert set(SystemChecker().check_backend_compatibility()) >= set(KNOWN_BACKENDS)
