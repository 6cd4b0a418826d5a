"""The host's own files: whatever is in them, the program goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.plugins import PluginState
from modelplug.plugins.discovery import discover
from modelplug.plugins.files import read_object, write_object
from modelplug.plugins.verdicts import Verdict, VerdictCache, fingerprint

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)
KEYS = {
    "plugins.json": ("version", "disabled"),
    "plugins-seen.json": ("version", "environments"),
}
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("name", KEYS)
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_any_json_in_our_files_is_survived(name: str, data: st.DataObject, site: Any) -> None:
    """Plugins load, and missing ones and problems can be asked for, whatever the files hold."""
    known = st.sampled_from([f"{sys.prefix}|good", sys.prefix, "good"])
    nested = VALUES | st.dictionaries(known, VALUES)
    content = data.draw(VALUES | st.fixed_dictionaries(dict.fromkeys(KEYS[name], nested)))
    file = site.home / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    site.add("good")
    manager = site.manager()
    manager.load_all()

    assert manager.record("good").state in (PluginState.READY, PluginState.DISABLED)
    assert isinstance(manager.missing, tuple)
    assert all(isinstance(problem, str) for problem in manager.problems)
    manager.set_enabled("good", True)
    assert manager.load("good").state is PluginState.READY


@settings(deadline=None, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_any_json_in_the_cache_gives_a_verdict_or_none(data: st.DataObject, site: Any) -> None:
    """Whatever the cache of verdicts holds, it answers, and takes a new verdict."""
    site.add("good")
    (candidate,) = discover(site.entry_points())
    entry = {
        "fingerprint": st.just(json.loads(json.dumps(fingerprint(candidate)))) | VALUES,
        "outcome": st.sampled_from(["safe", "hung", "crashed"]) | VALUES,
        "checked": st.floats() | VALUES,
    }
    kept = st.fixed_dictionaries({f"{sys.prefix}|good": st.fixed_dictionaries(entry) | VALUES})
    file = site.home / "verdicts.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"verdicts": data.draw(kept | VALUES)}), encoding="utf-8")

    assert isinstance(VerdictCache(file).get(candidate), (Verdict, type(None)))
    cache = VerdictCache(file)
    cache.put([(candidate, Verdict())])
    assert VerdictCache(file).get(candidate) == Verdict()


@settings(deadline=None, suppress_health_check=FIXTURES)
@given(st.dictionaries(st.text(), SCALARS.filter(lambda value: value == value)))
def test_what_is_written_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    """An object comes back as it was."""
    write_object(tmp_path / "deep" / "file.json", content)

    assert read_object(tmp_path / "deep" / "file.json") == (content, "")
