"""Importing plugins: what goes wrong stays with the plugin, and says where."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from modelplug.errors import PluginError, UsageError
from modelplug.plugins import PluginState, loading
from modelplug.plugins.guard import import_guarded
from modelplug.plugins.verdicts import Verdict

GOOD = """
@hookimpl
def modelplug_benchmarks():
    return []
"""


def test_a_good_plugin_becomes_ready(site: Any) -> None:
    """Loading tells hooks, contract version and how long the import took."""
    site.add("good", GOOD)
    record = site.manager().load("good")

    assert record.state is PluginState.READY
    assert record.hooks == ("modelplug_benchmarks",)
    assert record.hookspec_version == "1.0"
    assert record.import_seconds is not None
    assert record.cause == record.remedy == ""


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("raise SystemExit(5)", "SystemExit: it tried to end the program with 5"),
        ("import a_module_nobody_has", "ModuleNotFoundError: No module named 'a_module_nobody_has'"),
        ("def broken(:", "SyntaxError"),
        (
            "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
            "<its message raised ValueError>",
        ),
        ("class G(BaseException): pass\nraise G('odd')", "G: odd"),
    ],
)
@pytest.mark.parametrize("deadline", ["0", "20"])
def test_whatever_an_import_raises_is_contained(source: str, cause: str, deadline: str, site: Any) -> None:
    """Every kind of exception becomes a failed record with file and line, and other plugins load."""
    file = site.add("bad", source)
    site.add("good", GOOD)
    manager = site.manager({"MODELPLUG_PLUGIN_DEADLINE": deadline})
    manager.load_all()
    record = manager.record("bad")

    assert record.state is PluginState.FAILED
    assert cause in record.cause
    assert f"({file}:" in record.cause
    assert record.remedy
    assert record.traceback
    assert manager.record("good").state is PluginState.READY


def test_ctrl_c_of_the_plugin_is_told_apart_from_the_users(site: Any) -> None:
    """A KeyboardInterrupt that a plugin raises is its failure; in the main thread it is the user's."""
    site.add("bad", "raise KeyboardInterrupt")

    watched = site.manager({"MODELPLUG_PLUGIN_DEADLINE": "20"})
    assert "KeyboardInterrupt" in watched.load("bad").cause
    with pytest.raises(KeyboardInterrupt):
        site.manager().load("bad")


def test_a_missing_dependency_advises_to_reinstall(site: Any) -> None:
    """The remedy for a module that is not there is to install the plugin with its requirements."""
    site.add("bad", "import a_module_nobody_has")

    assert "Reinstall it with what it needs" in site.manager().load("bad").remedy


def test_a_missing_module_of_its_own_is_reported(site: Any) -> None:
    """An entry point that names nothing is a failure of that plugin."""
    site.add("gone", value="no_such_package.plugin")
    site.add("attribute", value="plug_attribute:no_such_object")
    manager = site.manager()
    manager.load_all()

    assert "No module named 'no_such_package'" in manager.record("gone").cause
    assert "no_such_object" in manager.record("attribute").cause


def test_strict_raises_after_everything_was_loaded(site: Any) -> None:
    """A strict manager raises a `PluginError` with exit code 3; the good plugins are loaded all the same."""
    site.add("bad", "raise RuntimeError('no luck')", version="0.7")
    site.add("good", GOOD)
    manager = site.manager(strict=True)

    with pytest.raises(PluginError, match=r"plugin 'bad' \(dist-bad 0.7\) failed") as caught:
        manager.load_all()
    assert caught.value.exit_code == 3
    assert caught.value.plugin == "bad"
    assert "no luck" in caught.value.why
    assert manager.record("good").state is PluginState.READY
    with pytest.raises(PluginError):
        manager.load("bad")


def test_an_object_can_be_the_plugin(site: Any) -> None:
    """An entry point may name an object; its module then states the contract's version."""
    source = """
    class Plugin:
        @hookimpl
        def modelplug_benchmarks(self):
            return ["not checked here"]
    plugin = Plugin()
    """
    site.add("thing", source, value="plug_thing:plugin")
    record = site.manager().load("thing")

    assert record.state is PluginState.READY
    assert record.hooks == ("modelplug_benchmarks",)


def test_an_attribute_that_raises_is_contained(site: Any) -> None:
    """A plugin object that fails when it is looked at is a failed plugin."""
    source = """
    class Plugin:
        def __dir__(self):
            raise LookupError("do not look")
    plugin = Plugin()
    """
    site.add("shy", source, value="plug_shy:plugin")
    record = site.manager().load("shy")

    assert record.state is PluginState.FAILED
    assert "LookupError: do not look" in record.cause


def test_a_hanging_import_is_left_behind() -> None:
    """An import that does not end by the deadline is reported with its stack, and the caller goes on."""
    # On a busy machine it may need longer to get as far as hanging.
    for deadline in (0.05, 1.0, 20.0):
        release = threading.Event()
        outcome = import_guarded(release.wait, name="slow", deadline=deadline)
        release.set()
        for thread in threading.enumerate():
            if thread.name == "modelplug-import-slow":
                thread.join()
        if any(frame.name == "wait" for frame in outcome.stack):
            break

    assert outcome.hung
    assert not outcome.done
    assert any(frame.name == "wait" for frame in outcome.stack)


def test_a_plugin_that_hangs_here_is_failed_with_its_place(site: Any) -> None:
    """A plugin that hangs although it was safe before is quarantined, and the others load."""
    gate = site.root / "plug_gate.py"
    gate.write_text("import threading\nrelease = threading.Event()\n")
    file = site.add("slow", "import plug_gate\nplug_gate.release.wait()\n")
    site.add("good", GOOD)
    manager = site.manager({"MODELPLUG_PLUGIN_DEADLINE": "2"})
    verdict = Verdict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "probe", lambda items, **_: {item.record.name: verdict for item in items})
        manager.load_all()
    import plug_gate  # type: ignore[import-not-found]

    plug_gate.release.set()
    for thread in threading.enumerate():
        if thread.name == "modelplug-import-slow":
            thread.join()

    record = manager.record("slow")
    assert record.state is PluginState.FAILED
    assert f"importing it did not end within 2 s ({file}:6)" in record.cause
    assert "plug_slow" in record.traceback
    assert manager.record("good").state is PluginState.READY


def test_warnings_of_an_import_go_into_the_record(site: Any, recwarn: pytest.WarningsRecorder) -> None:
    """What a plugin warns of while it is imported is kept with the plugin and not printed."""
    site.add(
        "loud", "import warnings\nwarnings.warn('mind the gap')\nwarnings.warn('old', DeprecationWarning)\n"
    )
    record = site.manager().load("loud")

    assert record.warnings[0] == "UserWarning: mind the gap"
    assert not any("old" in warning for warning in record.warnings)
    assert len(recwarn) == 0


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_a_deadline_that_is_no_number_of_seconds_is_bad_usage(text: str, site: Any) -> None:
    """`MODELPLUG_PLUGIN_DEADLINE` must be a sensible number."""
    site.add("good", GOOD)

    with pytest.raises(UsageError, match="MODELPLUG_PLUGIN_DEADLINE"):
        site.manager({"MODELPLUG_PLUGIN_DEADLINE": text}).load_all()


def test_loading_twice_imports_once(site: Any) -> None:
    """A plugin that is loaded stays loaded; a failed one is not tried again in the same process."""
    counter = site.root / "count"
    site.add(
        "counted",
        f"import pathlib\npathlib.Path({str(counter)!r}).open('a').write('x')\nraise RuntimeError\n",
    )
    manager = site.manager()
    manager.load_all()
    manager.load_all()
    manager.load("counted")

    assert counter.read_text() == "x"
