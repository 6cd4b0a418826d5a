"""Allow lists, deny lists, `--no-plugins` and disabled plugins."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelplug.errors import ConfigError, PluginError, UsageError
from modelplug.plugins import PluginState


def states(manager: Any) -> dict[str, str]:
    """State by name, after loading everything."""
    manager.load_all()
    return {record.name: str(record.state) for record in manager.records}


@pytest.fixture
def three(site: Any) -> Any:
    """Three plugins."""
    for name in ("one", "two", "three"):
        site.add(name)
    return site


@pytest.mark.parametrize(
    ("environ", "ready"),
    [
        ({}, {"one", "two", "three"}),
        ({"MODELPLUG_DISABLE_PLUGINS": "two"}, {"one", "three"}),
        ({"MODELPLUG_DISABLE_PLUGINS": " two , dist_one,"}, {"three"}),
        ({"MODELPLUG_DISABLE_PLUGINS": "*"}, set()),
        ({"MODELPLUG_DISABLE_PLUGINS": ""}, {"one", "two", "three"}),
        ({"MODELPLUG_PLUGINS": "two"}, {"two"}),
        ({"MODELPLUG_PLUGINS": "Dist.Two,one"}, {"one", "two"}),
        ({"MODELPLUG_PLUGINS": "one,two", "MODELPLUG_DISABLE_PLUGINS": "two"}, {"one"}),
        ({"MODELPLUG_PLUGINS": "*"}, {"one", "two", "three"}),
    ],
)
def test_lists_in_the_environment(environ: dict[str, str], ready: set[str], three: Any) -> None:
    """Names and distributions count, in any spelling; denying beats allowing."""
    found = states(three.manager(environ))

    assert {name for name, state in found.items() if state == "ready"} == ready
    assert {state for name, state in found.items() if name not in ready} <= {"disabled"}


def test_no_plugins_loads_none(three: Any) -> None:
    """`no_plugins` leaves every plugin alone and says so."""
    manager = three.manager(no_plugins=True)

    assert set(states(manager).values()) == {"disabled"}
    assert "--no-plugins" in manager.record("one").cause
    assert manager.call("modelplug_benchmarks") == []
    assert "plug_one" not in sys.modules


def test_only_loads_what_it_names(three: Any) -> None:
    """A process that is for one plugin imports no other."""
    manager = three.manager(only=["two"])

    assert states(manager) == {"one": "disabled", "two": "ready", "three": "disabled"}
    assert "plug_one" not in sys.modules


@pytest.mark.parametrize("variable", ["MODELPLUG_PLUGINS", "MODELPLUG_DISABLE_PLUGINS"])
def test_a_name_that_matches_nothing_is_reported(variable: str, three: Any) -> None:
    """The problem names the variable, the name and the nearest plugin; strict makes it an error."""
    environ = {variable: "thre"}
    (problem,) = three.manager(environ).problems

    assert problem.startswith(f"{variable} names 'thre', but no such plugin is installed. Did you mean three")
    with pytest.raises(PluginError, match="no plugin is named 'thre'") as caught:
        three.manager(environ, strict=True).load_all()
    assert caught.value.exit_code == 3


def test_a_disabled_plugin_is_off_in_the_next_run_too(three: Any) -> None:
    """`set_enabled` is written down, and undone by the opposite."""
    three.manager().set_enabled("two", False)
    manager = three.manager()
    assert states(manager)["two"] == "disabled"
    assert manager.record("two").remedy == "modelplug plugins enable two"

    manager.set_enabled("two", True)
    assert manager.load("two").state is PluginState.READY
    assert states(three.manager())["two"] == "ready"


def test_disabling_takes_effect_at_once(three: Any) -> None:
    """A loaded plugin that is disabled is not asked any more; enabled again, it is."""
    three.add("asked", "@hookimpl\ndef modelplug_benchmarks():\n    return []\n")
    manager = three.manager()
    assert [result.plugin for result in manager.call("modelplug_benchmarks")] == ["asked"]

    manager.set_enabled("asked", False)
    assert manager.call("modelplug_benchmarks") == []
    manager.set_enabled("asked", True)
    assert [result.plugin for result in manager.call("modelplug_benchmarks")] == ["asked"]


def test_a_distribution_names_its_plugin_when_disabling(three: Any) -> None:
    """`disable DISTRIBUTION` writes down the plugin's own name."""
    three.manager().set_enabled("dist-two", False)

    assert json.loads((three.home / "plugins.json").read_text())["disabled"] == ["two"]


def test_an_unknown_plugin_can_not_be_disabled(three: Any) -> None:
    """A misspelt name is bad usage, and nothing is written."""
    with pytest.raises(UsageError, match="twoo"):
        three.manager().set_enabled("twoo", False)
    assert not (three.home / "plugins.json").exists()


def test_an_uninstalled_plugin_can_be_enabled(three: Any) -> None:
    """A disabled name whose plugin is gone is reported, and can be cleared."""
    three.home.mkdir()
    (three.home / "plugins.json").write_text('{"version": 1, "disabled": ["gone"], "kept": true}')
    manager = three.manager()
    assert "modelplug plugins enable gone" in manager.problems[0]

    manager.set_enabled("gone", True)
    assert manager.problems == ()
    assert json.loads((three.home / "plugins.json").read_text()) == {
        "version": 1,
        "disabled": [],
        "kept": True,
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"disabled": "two"}', '{"disabled": [1]}', "\xff"])
def test_a_broken_file_is_reported_and_set_aside(content: str, three: Any) -> None:
    """An unreadable `plugins.json` disables nothing, is reported, and survives the next change as a copy."""
    three.home.mkdir()
    file = three.home / "plugins.json"
    file.write_text(content, encoding="latin-1")
    manager = three.manager()
    assert "can't be read" in manager.problems[0]
    assert states(manager)["two"] == "ready"

    manager.set_enabled("two", False)
    assert manager.general_problems == ()
    assert (three.home / "plugins.json.broken-1").read_text(encoding="latin-1") == content
    assert states(three.manager())["two"] == "disabled"


def test_a_home_that_can_not_be_written_is_an_error(three: Any) -> None:
    """If the choice can't be kept, the user learns it, with the variable that does the same."""
    three.home.write_text("a file where the directory should be")

    with pytest.raises(ConfigError, match="could not be disabled for good") as caught:
        three.manager().set_enabled("two", False)
    assert "MODELPLUG_DISABLE_PLUGINS" in caught.value.advice


def test_changes_at_the_same_time_are_all_kept(site: Any) -> None:
    """Several processes (here: managers in threads) that disable plugins do not undo each other's choices."""
    names = [f"p{number}" for number in range(8)]
    for name in names:
        site.add(name)
    managers = [site.manager() for _ in names]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda pair: pair[0].set_enabled(pair[1], False), zip(managers, names, strict=True)))

    assert json.loads((site.home / "plugins.json").read_text())["disabled"] == names
