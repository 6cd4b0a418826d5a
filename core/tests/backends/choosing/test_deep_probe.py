"""Deep probes: engines imported in a child process, whatever they do there, and what is remembered of it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.backends import deep_probe, probe_cache
from modelplug.backends.detect import BackendManager
from modelplug.backends.probe_fields import apply_fields
from modelplug.backends.types import BackendState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the engines here die by signals")

ENGINE = """
import ctypes, os, signal, subprocess, sys, time
def gpu():
    print("an engine that greets on standard output")
    os.write(1, b"and natively")
    return {"state": "gpu", "devices": ["cuda:0"], "cause": "", "architectures": {"llama", "falcon"}}
def nothing(): return {}
def raises(): raise OSError("libcuda.so.1: cannot open shared object file")
def illegal(): os.kill(os.getpid(), signal.SIGILL)
def segfault(): ctypes.string_at(0)
def killed(): os.kill(os.getpid(), signal.SIGKILL)
def leaves(): sys.stderr.write("could not find the driver\\n"); os._exit(3)
def wrong_type(): return 42
def wrong_state(): return {"state": "excellent"}
def wrong_field(): return {"name": "other"}
def wrong_value(): return {"devices": "cuda:0"}
def unjsonable(): return {"cause": object()}
def silent(): os._exit(0)
def hangs():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(os.environ["PID_FILE"], "w").write(str(child.pid))
    time.sleep(600)
def counts():
    with open(os.environ["COUNT_FILE"], "a") as stream: stream.write("x")
    return {"state": os.environ.get("ENGINE_STATE", "gpu"), "cause": "asked"}
"""


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module with every kind of probe on this process's path."""
    (tmp_path / "fake_engine.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COUNT_FILE", str(tmp_path / "count"))
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))


def probe(kit: Any, function: str, **options: Any) -> deep_probe.ProbeAnswer:
    """Probe the fake engine with one of its functions."""
    return deep_probe.probe(kit.report(deep_probe=f"fake_engine:{function}"), **options)


def test_an_answer_survives_an_engine_that_prints(kit: Any) -> None:
    """The engine's own output, native or not, does not disturb the answer, and sets become lists."""
    answer = probe(kit, "gpu")

    assert answer.fields == {
        "state": "gpu",
        "devices": ["cuda:0"],
        "cause": "",
        "architectures": ["falcon", "llama"],
    }
    report = apply_fields(kit.report(), answer.fields)
    assert report.state is BackendState.GPU
    assert report.devices == ("cuda:0",)
    assert report.architectures == frozenset({"llama", "falcon"})


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("raises", "failed: OSError: libcuda.so.1: cannot open shared object file"),
        ("illegal", "this CPU lacks an instruction that its prebuilt library needs (SIGILL)"),
        ("segfault", "SIGSEGV"),
        ("leaves", "exit status 3; its last words: could not find the driver"),
    ],
)
def test_a_failing_engine_is_broken_and_says_why(kit: Any, function: str, expected: str) -> None:
    """An exception, a crash or an early exit becomes `broken` with a cause in words."""
    answer = probe(kit, function)

    assert answer.fields["state"] == "broken"
    assert "importing engine engine" in answer.fields["cause"]
    assert expected in answer.fields["cause"]
    assert answer.definite


def test_a_probe_that_was_killed_is_not_believed_for_long(kit: Any) -> None:
    """SIGKILL comes from outside, most likely for want of memory: that verdict is not remembered."""
    answer = probe(kit, "killed")

    assert answer.fields["state"] == "broken"
    assert "SIGKILL" in answer.fields["cause"]
    assert not answer.definite


def test_a_hanging_engine_is_stopped_with_everything_it_started(kit: Any, tmp_path: Path) -> None:
    """At the deadline the engine and its own children are killed, and the verdict is not remembered."""
    # On a busy machine the engine may need longer to get as far as hanging.
    for deadline in (2.0, 8.0, 32.0):
        started = time.monotonic()
        answer = probe(kit, "hangs", deadline=deadline)
        if (tmp_path / "pid").exists():
            break

    assert time.monotonic() - started < deadline + 8
    assert answer.fields["state"] == "broken"
    assert f"did not finish within {deadline:.0f} s" in answer.fields["cause"]
    assert not answer.definite
    grandchild = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while _alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(grandchild)


def _alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("wrong_type", "returned int instead of a mapping"),
        ("wrong_state", "returned the unknown state 'excellent'"),
        ("wrong_field", "returned the field 'name', which it may not change"),
        ("wrong_value", "returned 'cuda:0' for 'devices', which must be a list of texts"),
        ("unjsonable", "instead of a mapping"),
        ("silent", "gave no answer"),
    ],
)
def test_a_probe_that_breaks_the_contract_is_reported_and_not_believed(
    kit: Any, function: str, expected: str
) -> None:
    """The cheap report stands, and the plugin is named with what its probe did."""
    report = kit.report(deep_probe=f"fake_engine:{function}")
    runtime = kit.runtime(report)

    probed = deep_probe.probe_all({"engine": report}, runtime)

    assert probed["engine"] == report
    ((plugin, cause, remedy),) = runtime.plugins.problems
    assert plugin == "engine"
    assert expected in cause
    assert "engine-plugin 1.0" in remedy


def count(tmp_path: Path) -> int:
    """How often the fake engine was asked."""
    file = tmp_path / "count"
    return len(file.read_text()) if file.exists() else 0


def manager_with(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], **changes: Any
) -> BackendManager:
    """A fresh manager over a plugin whose deep probe counts."""
    report = kit.report("deep", deep_probe="fake_engine:counts", **changes)
    return BackendManager(runtime_of([plugin("deep", report)]))


def test_a_deep_answer_is_known_afterwards_at_no_cost(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """A later manager, which imports nothing, repeats what the deep probe found; a deep one asks again."""
    assert manager_with(kit, plugin, runtime_of).reports()["deep"].state is BackendState.CPU
    assert manager_with(kit, plugin, runtime_of).reports(deep=True)["deep"].state is BackendState.GPU
    assert count(tmp_path) == 1

    assert manager_with(kit, plugin, runtime_of).reports()["deep"].state is BackendState.GPU
    assert count(tmp_path) == 1

    manager_with(kit, plugin, runtime_of).reports(deep=True)
    assert count(tmp_path) == 2


@pytest.mark.parametrize("changes", [{"version": "2.0"}, {"state": "broken", "cause": "gone"}])
def test_a_remembered_answer_ends_with_the_engine_it_is_about(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], changes: dict[str, Any]
) -> None:
    """Another version of the engine, or another verdict of the cheap detection, is not judged by it."""
    manager_with(kit, plugin, runtime_of).reports(deep=True)

    later = manager_with(kit, plugin, runtime_of, **changes).reports()["deep"]

    assert later.state is BackendState(changes.get("state", "cpu"))


def test_a_broken_verdict_is_remembered_for_a_day(
    kit: Any,
    plugin: Callable[..., Any],
    runtime_of: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was missing may have been installed since, so a verdict of `broken` ends by itself."""
    monkeypatch.setenv("ENGINE_STATE", "broken")
    manager_with(kit, plugin, runtime_of).reports(deep=True)

    soon = manager_with(kit, plugin, runtime_of).reports()["deep"]
    assert soon.state is BackendState.BROKEN
    assert "asked (found a moment ago; `modelplug backends --deep` looks again)" in soon.cause

    (file,) = (tmp_path / "home" / "cache" / "deep-probes").glob("deep.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "time": content["time"] - probe_cache.BROKEN_FOR - 1}))
    assert manager_with(kit, plugin, runtime_of).reports()["deep"].state is BackendState.CPU


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', "null", "\ufffd" * 10])
def test_a_damaged_memory_is_as_good_as_none(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path, content: str
) -> None:
    """A cache file that was cut off or written by something else is not believed and does no harm."""
    manager_with(kit, plugin, runtime_of).reports(deep=True)
    file = tmp_path / "home" / "cache" / "deep-probes" / "deep.json"
    file.write_text(content)

    assert manager_with(kit, plugin, runtime_of).reports()["deep"].state is BackendState.CPU


def test_a_cache_that_can_not_be_written_costs_only_the_memory(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """Where a file stands in the way of the cache directory, probing still works."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").write_text("in the way")

    assert manager_with(kit, plugin, runtime_of).reports(deep=True)["deep"].state is BackendState.GPU


def test_choosing_asks_an_engine_once_where_a_gpu_is_at_stake(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """On a machine with a GPU an engine that might use it is asked before the first choice, and only then."""
    machine = kit.system(kit.device())
    report = kit.report("deep", deep_probe="fake_engine:counts", gpu_offload="layers")

    for _ in range(2):
        manager = BackendManager(runtime_of([plugin("deep", report)], system=machine))
        assert manager.informed_reports()["deep"].state is BackendState.GPU
        assert manager.informed_reports()["deep"].state is BackendState.GPU
    assert count(tmp_path) == 1


def test_choosing_asks_only_engines_that_come_into_question(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """An engine that does not load this format is not imported for it."""
    from modelplug.backends.select import BackendSelector

    probed = {"deep_probe": "fake_engine:counts", "gpu_offload": "layers"}
    answer = [kit.report("right", **probed), kit.report("wrong", formats=("ggml",), **probed)]
    runtime = runtime_of([plugin("both", answer)], system=kit.system(kit.device()))

    BackendSelector(runtime).candidates(kit.model())

    assert count(tmp_path) == 1


def test_choosing_asks_no_engine_without_a_gpu(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """On a machine without a GPU there is nothing to learn, so no engine is imported."""
    report = kit.report("deep", deep_probe="fake_engine:counts", gpu_offload="layers")
    manager = BackendManager(runtime_of([plugin("deep", report)]))

    assert manager.informed_reports()["deep"].state is BackendState.CPU
    assert count(tmp_path) == 0
