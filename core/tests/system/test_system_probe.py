"""The whole machine: cheap where there is nothing, complete where there is, never an exception."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.system import Host, bandwidth, probe
from modelplug.system.describe_os import parse_os_release
from modelplug.system.probing import Found, absent, found, run_probes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.tests.system.conftest import Machine

MEMINFO = "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n"


@pytest.fixture
def plain(machine: Machine) -> Machine:
    """A machine with memory and a processor."""
    return machine.file("/proc/meminfo", MEMINFO).file(
        "/etc/os-release", 'NAME=X\nPRETTY_NAME="Test Linux 1"\n'
    )


def test_this_machine_can_be_probed(tmp_path: Path) -> None:
    """The machine that runs the tests has a processor, memory, and an outcome for every probe."""
    system = probe(cache_file=tmp_path / "bandwidth.json")
    assert system.cpu.usable_cores >= 1
    assert 0 < system.memory.available <= system.memory.total
    assert [outcome.name for outcome in system.probes] == ["nvidia", "amd", "apple"]
    assert {outcome.state for outcome in system.probes} <= {"ok", "absent", "failed"}
    assert system.python == ".".join(map(str, sys.version_info[:3]))


def test_no_tools_at_all_starts_no_process(
    plain: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sign of a driver nothing is started, in a deep probe neither, and nothing is found."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(bandwidth, "measure", lambda *_a, **_k: _known())
    system = probe(host=plain.host, deep=True, cache_file=tmp_path / "bandwidth.json")
    assert system.devices == ()
    assert {outcome.name: outcome.state for outcome in system.probes} == {
        "nvidia": "absent",
        "amd": "absent",
        "apple": "absent",
        "vulkan": "absent",
        "bandwidth": "ok",
    }


def _known() -> bandwidth.Bandwidth:
    return bandwidth.Bandwidth(bytes_per_second=5e10, threads=2, buffer_bytes=1, seconds=1, measured_at="now")


def test_a_deep_probe_measures_once_and_a_quick_one_remembers(
    plain: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bandwidth is measured by the first deep probe and known to all that follow."""
    file = tmp_path / "bandwidth.json"
    assert probe(host=plain.host, cache_file=file).memory.bandwidth is None
    monkeypatch.setattr(bandwidth, "measure", lambda *_a, **_k: _known())
    assert probe(host=plain.host, cache_file=file, deep=True).memory.bandwidth == 5e10
    monkeypatch.setattr(bandwidth, "measure", lambda *_a, **_k: pytest.fail("measured twice"))
    assert probe(host=plain.host, cache_file=file).memory.bandwidth == 5e10
    assert probe(host=plain.host, cache_file=file, deep=True).memory.bandwidth == 5e10
    assert probe(host=plain.host, cache_file=file, use_cache=False).memory.bandwidth is None


def test_a_bandwidth_that_can_not_be_measured_is_an_outcome(plain: Machine, tmp_path: Path) -> None:
    """Too little memory for a measurement is a failed outcome, not an exception."""
    plain.file("/proc/meminfo", "MemTotal: 65536 kB\nMemAvailable: 32768 kB\n")
    system = probe(host=plain.host, deep=True, cache_file=tmp_path / "bandwidth.json")
    outcome = system.probes[-1]
    assert (outcome.name, outcome.state) == ("bandwidth", "failed")
    assert "32 MiB of memory are available" in outcome.detail


def test_all_kinds_of_device_together(plain: Machine, tmp_path: Path) -> None:
    """Devices of several vendors are listed once each, with memory of their own, never added up."""
    plain.file("/dev/kfd").printer("nvidia-smi", "nvidia/two_sizes.csv")
    plain.printer("rocm-smi", "amd/rocm6.json").printer("vulkaninfo", "vulkan/amd_and_intel.txt")
    bandwidth.store(tmp_path / "b.json", "x", _known())
    system = probe(host=plain.host, deep=True, cache_file=tmp_path / "b.json")
    assert [device.id for device in system.devices] == ["cuda:0", "cuda:1", "rocm:0", "rocm:1", "vulkan:2"]
    assert len({device.id for device in system.devices}) == len(system.devices)
    assert [device.memory_total for device in system.devices][:2] == [12288 * 2**20, 24564 * 2**20]
    assert system.os_version.startswith("Test Linux 1")


def test_hanging_tools_cost_one_deadline_not_several(
    plain: Machine, in_time: Callable[..., Any], tmp_path: Path
) -> None:
    """When every tool hangs, the probe ends after one deadline, since all run at the same time."""
    plain.file("/dev/kfd")
    for name in ("nvidia-smi", "rocm-smi", "vulkaninfo"):
        plain.tool(name, "/bin/sleep 60")
    bandwidth.store(tmp_path / "b.json", "x", _known())
    plain.file("/proc/meminfo", "MemTotal: 65536 kB\nMemAvailable: 32768 kB\n")
    cache = tmp_path / "b.json"
    system = in_time(2.5, lambda: probe(host=plain.host, deep=True, deadline=1.0, cache_file=cache))
    assert [outcome.state for outcome in system.probes[:2]] == ["failed", "failed"]
    assert all(outcome.seconds >= 0.9 for outcome in system.probes[:2])


def test_a_probe_that_raises_is_an_outcome() -> None:
    """A fault in one probe is its outcome, and the others are not touched."""

    def broken() -> Found:
        raise RuntimeError("surprise")

    results = run_probes({"bad": broken, "good": lambda: absent("nothing")}, deadline=1)
    assert results["bad"][1].state == "failed"
    assert "RuntimeError: surprise" in results["bad"][1].detail
    assert results["good"][1].state == "absent"


def test_a_probe_that_is_stuck_is_left_behind() -> None:
    """A probe that does not keep its deadline is reported and not waited for."""
    release = threading.Event()

    def stuck() -> Found:
        release.wait(30)
        return found((), "late")

    started = time.monotonic()
    results = run_probes({"stuck": stuck, "good": lambda: found((), "fine")}, deadline=0.1)
    release.set()
    assert time.monotonic() - started < 5
    assert (results["stuck"][1].state, results["good"][1].state) == ("failed", "ok")


def test_two_probes_do_not_share_state(plain: Machine, tmp_path: Path) -> None:
    """A tool that appears between two probes is seen by the second."""
    assert probe(host=plain.host, cache_file=tmp_path / "b").devices == ()
    plain.printer("nvidia-smi", "nvidia/one_h200.csv")
    assert len(probe(host=plain.host, cache_file=tmp_path / "b").devices) == 1


def test_os_release() -> None:
    """The pretty name is taken without its quotes."""
    assert parse_os_release('NAME="A"\nPRETTY_NAME="Debian GNU/Linux 12"\n') == "Debian GNU/Linux 12"
    assert parse_os_release("PRETTY_NAME='B'") == "B"
    assert parse_os_release("") == ""


def test_importing_and_probing_is_cheap(tmp_path: Path) -> None:
    """Importing the room and a quick probe load no engine, no numpy, no cattrs and no driver library."""
    code = (
        "import sys, json, modelplug.system as s\n"
        "s.probe(host=s.Host(root=__import__('pathlib').Path(sys.argv[1]), environ={'PATH': ''}))\n"
        "unwanted = {'numpy', 'torch', 'cattrs', 'rich', 'asyncio', 'pynvml', 'ctypes.util'}\n"
        "print(json.dumps(sorted(set(sys.modules) & unwanted)))\n"
    )
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "MODELPLUG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout) == []


def test_a_quick_probe_without_gpu_is_fast(plain: Machine, tmp_path: Path) -> None:
    """Without GPU a quick probe takes well under a tenth of a second, imports aside."""
    plain.file("/proc/cpuinfo", "processor: 0\nmodel name: X\ncore id: 0\nflags: avx\n")
    host: Host = plain.host

    def once() -> float:
        started = time.perf_counter()
        probe(host=host, cache_file=tmp_path / "b.json")
        return time.perf_counter() - started

    # The best of several: other work on the machine is not what is tested.
    times = [once() for _ in range(7)]
    while min(times) >= 0.06 and len(times) < 100:
        times.append(once())
    assert min(times) < 0.06


def test_recorded_processor_is_probed(plain: Machine, recorded: Callable[[str], str], tmp_path: Path) -> None:
    """The processor of a recorded machine is reported, not that of the one running the test."""
    plain.file("/proc/cpuinfo", recorded("cpu/intel_hyperthreads.txt"))
    cpu = probe(host=plain.host, cache_file=tmp_path / "b.json").cpu
    assert (cpu.model, cpu.physical_cores) == ("Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz", 2)
