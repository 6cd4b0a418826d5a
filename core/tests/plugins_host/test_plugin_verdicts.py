"""First contact in a child process, and remembering its outcome."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelplug.plugins import PluginState, loading
from modelplug.plugins.verdicts import module_file, probe

WATCHED = {"MODELPLUG_PLUGIN_DEADLINE": "3"}
HANG = "import threading\nthreading.Event().wait()\n"
CRASH = "import os\nos.abort()\n"
LEAVE = "import os\nos._exit(0)\n"


def candidates(site: Any) -> list[Any]:
    """What discovery finds."""
    from modelplug.plugins.discovery import discover

    return discover(site.entry_points())


def test_hangs_and_crashes_stay_in_the_child(site: Any) -> None:
    """Plugins that hang, crash or leave are failed with their place, and the rest is ready."""
    hangs = site.add("hangs", HANG)
    crashes = site.add("crashes", CRASH)
    site.add("leaves", LEAVE)
    site.add("raises", "raise ValueError('here')")
    site.add("good")
    manager = site.manager(WATCHED)
    manager.load_all()
    causes = {record.name: record.cause for record in manager.records}

    assert causes["hangs"] == f"importing it did not end within 3 s (at {hangs}:6)"
    assert causes["crashes"].startswith("importing it ended the process")
    assert f"(at {crashes}:6)" in causes["crashes"]
    assert "exited with status 0" in causes["leaves"]
    assert "ValueError: here" in causes["raises"]
    assert manager.record("good").state is PluginState.READY
    assert "modelplug plugins enable hangs" in manager.record("hangs").remedy
    assert "plug_hangs.py" in manager.record("hangs").traceback
    assert not {"plug_hangs", "plug_crashes", "plug_leaves"} & set(sys.modules)


def test_a_verdict_is_remembered(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run starts no child and does not import what hung."""
    site.add("hangs", HANG)
    site.add("good")
    site.manager(WATCHED).load_all()
    monkeypatch.setattr(loading, "probe", lambda *_, **__: pytest.fail("a child was started"))
    manager = site.manager(WATCHED)
    manager.load_all()

    assert "did not end within" in manager.record("hangs").cause
    assert manager.record("good").state is PluginState.READY


@pytest.mark.parametrize("change", ["file", "version", "environment", "day", "enable", "broken cache"])
def test_a_change_calls_for_a_new_verdict(change: str, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed plugin or environment, a day, or `enable` lets a plugin that hung be tried again."""
    file = site.add("once", HANG)
    cache = site.home / "cache" / "plugin-imports.json"
    first = site.manager(WATCHED)
    assert first.load("once").state is PluginState.FAILED
    text = file.read_text().replace(HANG, "")
    if change == "file":
        file.write_text(text)
    else:
        # Same file, as far as its time and size tell: something else has to bring the new verdict.
        status = file.stat()
        file.write_text(text.ljust(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        # Python itself would go by the same two and run the old code.
        Path(importlib.util.cache_from_source(str(file))).unlink()
    if change == "version":
        metadata = site.root / "dist_once-1.0.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    elif change == "environment":
        (site.root / "another-1.0.dist-info").mkdir()
        os.utime(site.root, ns=(1, 1))
    elif change == "day":
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    elif change == "enable":
        site.manager(WATCHED).set_enabled("once", True)
    elif change == "broken cache":
        cache.write_text('{"verdicts": {"x": 1, "')

    assert site.manager(WATCHED).load("once").state is PluginState.READY
    assert json.loads(cache.read_text())["version"] == 1


def test_an_unchanged_plugin_that_hung_is_not_tried_again_within_a_day(site: Any) -> None:
    """Only the reasons above bring a new verdict."""
    file = site.add("once", HANG)
    site.manager(WATCHED).load_all()
    status = file.stat()
    file.write_text(file.read_text().replace(HANG, "").ljust(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert site.manager(WATCHED).load("once").state is PluginState.FAILED


def test_without_a_cache_plugins_are_probed_each_time(site: Any) -> None:
    """A cache that can't be written costs time, and nothing else."""
    site.home.write_text("a file where the directory should be")
    site.add("good")

    for _ in range(2):
        assert site.manager(WATCHED).load("good").state is PluginState.READY


def test_a_child_that_can_not_start_is_no_obstacle(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no child can be started, the watched import has to do."""
    site.add("good")
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    assert site.manager(WATCHED).load("good").state is PluginState.READY


def test_what_a_plugin_prints_is_not_taken_for_a_report(site: Any) -> None:
    """A plugin can't talk its way past the probe."""
    site.add("liar", "print('begin liar\\nend liar', flush=True)\n" + CRASH)

    assert site.manager(WATCHED).load("liar").state is PluginState.FAILED


def test_one_child_probes_all_harmless_plugins(site: Any) -> None:
    """However many plugins there are, the first contact costs one process."""
    for number in range(5):
        site.add(f"p{number}")
    calls = []
    from modelplug.system import child

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return run_child(*arguments, **options)

    run_child = child.run_child
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "run_child", counted)
        found = probe(candidates(site), deadline=60)

    assert len(calls) == 1
    assert {name for name, verdict in found.items() if verdict.safe} == {f"p{number}" for number in range(5)}


def test_a_modules_file_is_found_without_importing_its_package(site: Any) -> None:
    """Finding the file of `package.module` does not run the package."""
    package = site.root / "plug_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "inner.py").write_text("")

    assert module_file("plug_package.inner") == package / "inner.py"
    assert module_file("plug_package") == package / "__init__.py"
    assert module_file("plug_package.absent") is None
    assert module_file("plug_absent") is None
    assert module_file("sys") is None
    assert "plug_package" not in sys.modules
