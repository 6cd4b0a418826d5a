"""The contract: version handshake, unknown hooks, and how hook specifications evolve."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug import hookspecs
from modelplug.plugins import PluginState
from modelplug.plugins.checks import CHECKS
from modelplug.plugins.registry import Registry
from modelplug.plugins.versions import shake_hands


def outcome(stated: object, ours: str) -> str:
    """The cause of a handshake's failure."""
    return shake_hands(stated, ours, distribution="dist", upgrade="upgrade it").cause


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_versions_suit_within_a_major_version(major: int, minor: int, our_major: int, our_minor: int) -> None:
    """A plugin works with a core of the same major and an equal or higher minor number, and no other."""
    suits = outcome(f"{major}.{minor}", f"{our_major}.{our_minor}") == ""

    assert suits == (major == our_major and minor <= our_minor)


@pytest.mark.parametrize("stated", [1, 1.0, "1", "1.0.0", "one", "", "1.x", "01.0", " 1.0", b"1.0", "١.0"])
def test_an_unreadable_version_is_refused(stated: object) -> None:
    """Anything but a `major.minor` string is refused, and shown."""
    assert repr(stated) in outcome(stated, "1.0")


@pytest.mark.parametrize(
    ("head", "cause", "remedy"),
    [
        (
            "",
            "no attribute MODELPLUG_HOOKSPEC_VERSION",
            f"MODELPLUG_HOOKSPEC_VERSION = '{hookspecs.HOOKSPEC_VERSION}'",
        ),
        ("MODELPLUG_HOOKSPEC_VERSION = '0.9'", "was written for version 0.9", "--upgrade dist-old"),
        ("MODELPLUG_HOOKSPEC_VERSION = '1.7'", "needs version 1.7", "Upgrade modelplug"),
        ("MODELPLUG_HOOKSPEC_VERSION = '2.0'", "needs version 2.0", "Upgrade modelplug"),
    ],
)
def test_an_incompatible_plugin_says_why(head: str, cause: str, remedy: str, site: Any) -> None:
    """The record of a plugin for another contract names both versions and the way out."""
    site.add("old", head=head + "\n")
    record = site.manager().load("old")

    assert record.state is PluginState.INCOMPATIBLE
    assert cause in record.cause
    assert remedy in record.remedy


def test_an_unknown_hook_is_refused(site: Any) -> None:
    """A marked function that belongs to no hook fails the plugin, with the nearest hook and the place."""
    file = site.add("typo", "@hookimpl\ndef modelplug_detect_backend(system):\n    pass\n")
    record = site.manager().load("typo")

    assert record.state is PluginState.FAILED
    assert "did you mean 'modelplug_detect_backends'?" in record.cause
    assert f"({file}:5)" in record.cause


def test_an_optional_hook_may_be_unknown(site: Any) -> None:
    """`optionalhook=True` lets a plugin implement a hook of another core version."""
    site.add("newer", "@hookimpl(optionalhook=True)\ndef modelplug_serve():\n    pass\n")
    record = site.manager().load("newer")

    assert record.state is PluginState.READY
    assert record.hooks == ()


def test_an_unknown_argument_is_refused(site: Any) -> None:
    """An implementation that wants an argument its hook does not have fails the plugin."""
    site.add("wants", "@hookimpl\ndef modelplug_detect_backends(gpu):\n    pass\n")
    record = site.manager().load("wants")

    assert record.state is PluginState.FAILED
    assert "gpu" in record.cause


def test_fewer_arguments_are_fine(site: Any) -> None:
    """An implementation may take fewer arguments than its hook has."""
    site.add("few", "@hookimpl\ndef modelplug_inspect_model():\n    return None\n")

    assert site.manager().load("few").state is PluginState.READY


def test_a_refused_plugin_leaves_no_hook_behind(site: Any) -> None:
    """The good hooks of a plugin with a bad one are not asked either."""
    source = """
    @hookimpl
    def modelplug_benchmarks():
        raise AssertionError("asked")
    @hookimpl
    def modelplug_zzz():
        pass
    """
    site.add("half", source)
    site.add("wrong", source.replace("modelplug_zzz()", "modelplug_commands(gpu)"))
    manager = site.manager()

    assert manager.call("modelplug_benchmarks") == []
    assert {record.state for record in manager.records} == {PluginState.FAILED}


def test_forgotten_marks_are_noted(site: Any) -> None:
    """A function with a hook's name and no mark does nothing, and its author is told."""
    site.add("unmarked", "def modelplug_commands():\n    return []\n")
    record = site.manager().load("unmarked")

    assert record.state is PluginState.READY
    assert any("'modelplug_commands'" in note and "@hookimpl" in note for note in record.warnings)
    assert any("implements no hook" in note for note in record.warnings)


def evolving() -> ModuleType:
    """A contract at version 1.4: an argument and a hook are on their way out."""
    module = ModuleType("evolving_hookspecs")
    module.HOOKSPEC_VERSION = "1.4"  # type: ignore[attr-defined]

    def modelplug_paint(canvas: object, colour: object, shade: object) -> None:
        """Paint."""

    def modelplug_scrape() -> None:
        """Scrape."""

    gone = DeprecationWarning("'colour' goes in 2.0: use 'shade'")
    module.modelplug_paint = hookspecs.hookspec(  # type: ignore[attr-defined]
        modelplug_paint, warn_on_impl_args={"colour": gone}
    )
    module.modelplug_scrape = hookspecs.hookspec(  # type: ignore[attr-defined]
        modelplug_scrape, warn_on_impl=DeprecationWarning("modelplug_scrape goes in 2.0")
    )
    return module


def test_a_deprecated_argument_warns_and_works(site: Any, recwarn: pytest.WarningsRecorder) -> None:
    """`warn_on_impl_args` ends up in the plugin's record with file and line, and the plugin works on."""
    file = site.add("old", "@hookimpl\ndef modelplug_paint(canvas, colour):\n    return (canvas, colour)\n")
    site.add("new", "@hookimpl\ndef modelplug_paint(canvas, shade):\n    return (canvas, shade)\n")
    manager = site.manager(specification=evolving())
    results = manager.call("modelplug_paint", canvas="wall", colour="red", shade="dark")

    assert {result.plugin: result.value for result in results} == {
        "old": ("wall", "red"),
        "new": ("wall", "dark"),
    }
    assert manager.record("old").warnings == (
        f"DeprecationWarning: 'colour' goes in 2.0: use 'shade' ({file}:5)",
    )
    assert manager.record("old").state is PluginState.READY
    assert manager.record("new").warnings == ()
    assert any("'colour' goes in 2.0" in problem for problem in manager.problems)
    assert len(recwarn) == 0


def test_a_deprecated_hook_warns(site: Any) -> None:
    """`warn_on_impl` is recorded in the same way."""
    site.add("old", "@hookimpl\ndef modelplug_scrape():\n    return 1\n")
    record = site.manager(specification=evolving()).load("old")

    assert "modelplug_scrape goes in 2.0" in record.warnings[0]


def test_every_hook_has_a_check() -> None:
    """No hook's results travel on unchecked."""
    assert set(Registry(hookspecs).hooks) == set(CHECKS)


def test_every_hook_says_since_when_it_is_there() -> None:
    """Each specification ends with the contract version that brought it, which is none of the future."""
    ours = tuple(map(int, hookspecs.HOOKSPEC_VERSION.split(".")))
    since = {}
    for name in Registry(hookspecs).hooks:
        stated = re.search(r"Since (\d+)\.(\d+)\.$", (getattr(hookspecs, name).__doc__ or "").strip())
        assert stated is not None, name
        since[name] = (int(stated[1]), int(stated[2]))

    assert max(since.values()) == ours
    assert since["modelplug_bundled_models"] == (1, 1)


def test_every_hook_is_in_the_guide_for_authors() -> None:
    """`docs/writing-a-backend.md` names all of them."""
    guide = Path(__file__).parents[3] / "docs" / "writing-a-backend.md"
    text = guide.read_text("utf-8")

    assert [name for name in Registry(hookspecs).hooks if name not in text] == []
