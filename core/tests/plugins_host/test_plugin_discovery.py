"""Finding plugins from metadata, and the names they go by."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from modelplug.errors import UsageError
from modelplug.plugins import PluginManager, PluginState
from modelplug.plugins.discovery import installed_entry_points


def test_discovery_imports_nothing(site: Any) -> None:
    """Records tell distribution, version and module of a plugin that was not imported."""
    site.add("quiet", "raise SystemExit", version="3.1")
    (record,) = site.manager().records

    assert (record.name, record.distribution, record.version) == ("quiet", "dist-quiet", "3.1")
    assert record.module == "plug_quiet"
    assert record.state is PluginState.FOUND
    assert "plug_quiet" not in sys.modules


def test_installed_plugins_are_found_on_the_path(site: Any) -> None:
    """Without entry points given, the manager finds what is installed."""
    site.add("on-path")

    assert PluginManager(paths=site.paths, environ={}).record("on-path").distribution == "dist-on-path"


def test_records_come_in_order_of_name(site: Any) -> None:
    """Whatever the order on disk, records are sorted by name."""
    for name in ("b", "c", "a"):
        site.add(name)

    assert [record.name for record in site.manager().records] == ["a", "b", "c"]


def test_a_broken_distribution_hides_no_other(site: Any) -> None:
    """Metadata that can't be read becomes a problem; the plugins beside it are found."""
    site.add("fine")
    broken = site.root / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[modelplug]\nbroken = \xff\xfe\n")

    problems: list[str] = []
    names = {point.name for point in installed_entry_points("modelplug", problems)}

    assert "fine" in names
    assert len(problems) == 1
    assert str(site.root) in problems[0]


def test_an_unknown_name_is_answered_with_the_nearest(site: Any) -> None:
    """Asking for a plugin that does not exist names the closest one that does."""
    site.add("markov")

    with pytest.raises(UsageError, match="no plugin is named 'markow'") as caught:
        site.manager().record("markow")
    assert "markov" in caught.value.advice
    assert caught.value.exit_code == 2


def test_a_plugin_answers_to_its_distribution_too(site: Any) -> None:
    """The name of a distribution with one plugin is as good as the plugin's own."""
    site.add("markov", distribution="text-chains")

    assert site.manager().record("text-chains").name == "markov"


def test_of_two_plugins_with_one_name_the_bundled_one_wins(site: Any) -> None:
    """A third party's entry point named like a bundled plugin is left out, reported, and can be addressed."""
    site.add("llamacpp", distribution="aaa-llama", value="plug_other")
    site.add("llamacpp", distribution="modelplug-llamacpp")
    manager = site.manager()
    manager.load_all()

    winner = manager.record("llamacpp")
    loser = manager.record("llamacpp@aaa-llama")
    assert winner.distribution == "modelplug-llamacpp"
    assert winner.state is PluginState.READY
    assert loser.state is PluginState.FAILED
    assert "modelplug-llamacpp 1.0, which has the name" in loser.cause
    assert "pip uninstall aaa-llama" in loser.remedy
    assert "plug_other" not in sys.modules


def test_of_two_third_parties_with_one_name_the_first_distribution_wins(site: Any) -> None:
    """The choice between equals does not depend on the order on disk."""
    site.add("same", distribution="zzz")
    site.add("same", distribution="bbb")

    assert site.manager().record("same").distribution == "bbb"


def test_where_a_plugin_was_installed_from_is_known(site: Any) -> None:
    """Directories, editable ones and repositories are told in the words of pip."""
    site.add("plain", direct_url='{"url": "file:///src/plain%20one", "dir_info": {}}')
    site.add("edit", direct_url='{"url": "file:///src/edit", "dir_info": {"editable": true}}')
    site.add("git", direct_url='{"url": "https://host/r.git", "vcs_info": {"vcs": "git"}}')
    site.add("odd", direct_url="{not json")
    sources = {record.name: record.source for record in site.manager().records}

    assert sources == {
        "plain": "'/src/plain one'",
        "edit": "-e /src/edit",
        "git": "'dist-git @ git+https://host/r.git'",
        "odd": "",
    }
