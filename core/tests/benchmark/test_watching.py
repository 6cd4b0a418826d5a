"""What is watched beside the clock: memory, other programs, accelerators, energy, and the machine's state."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.benchmark.accelerators import AcceleratorWatch
from modelplug.benchmark.energy import EnergyMeter
from modelplug.benchmark.environment import describe_differences, observe
from modelplug.benchmark.watching import MemoryWatch, ProcessorShare, members_of, yardstick
from modelplug.runtime import Runtime
from modelplug.system import Host
from modelplug.system.info import Device


def write(root: Path, files: dict[str, str]) -> Host:
    """A machine with these files."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(root=root, os="linux")


# A worker -------------------------------------------------------------------------------------------------


def test_the_memory_of_a_worker_is_that_of_its_programs(misbehaving: Any) -> None:
    """A worker and what it starts are counted, the forked guard is not, and the total is the worker's own."""
    with misbehaving.start("grandchild") as model:
        members = members_of(model.process)
        import psutil

        total = sum(psutil.Process(pid).memory_info().rss for pid in members)
        stated = model.process.resident_bytes()

    assert len(members) == 2
    assert members[0] == model.process.pid
    assert total == pytest.approx(stated, rel=0.02)
    assert members_of(model.process) == []


def test_the_peak_of_memory_is_not_missed(misbehaving: Any) -> None:
    """What the worker had before is remembered, also if it was given back between two looks."""
    with misbehaving.start() as model:
        watch = MemoryWatch(model.process)
        before = model.process.resident_bytes()
        # An answer of ten million letters, twenty times, passes through the worker's memory.
        text = misbehaving.text_of(model, "huge", 3)
        peak = watch.finish()

    assert len(text) == 30_000_000
    assert peak > before + 5_000_000
    assert watch.finish() == peak


def test_a_watch_ends_with_its_worker(misbehaving: Any) -> None:
    """A worker that has gone ends the watch without an error, and the samples until then count."""
    with misbehaving.start() as model:
        watch = MemoryWatch(model.process)
        assert misbehaving.eventually(lambda: watch._peak > 0)
        model.process.kill()
        peak = watch.finish()

    assert peak > 10_000_000


def test_only_other_programs_count_as_others(misbehaving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine worked, less what this process and the worker did, is the share of the others."""
    from modelplug.benchmark import watching

    seconds = iter([100.0, 104.0])
    own = iter([1.0, 2.0])
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(watching, "_machine_seconds", lambda: next(seconds))
    monkeypatch.setattr(ProcessorShare, "_own_seconds", lambda _self: next(own))
    monkeypatch.setattr("psutil.cpu_count", lambda: 2)
    with misbehaving.start() as model:
        monkeypatch.setattr(watching.time, "monotonic", lambda: next(clock))
        others = ProcessorShare(model.process).others()
        monkeypatch.undo()

    # Of twenty seconds that two processors had, four were worked, and one of these was ours.
    assert others == pytest.approx(0.15)


def test_a_machine_worked_as_much_as_it_says() -> None:
    """The share of others is between nothing and everything, on any machine."""

    class Nobody:
        pid = os.getpid()

    share = ProcessorShare(Nobody())  # type: ignore[arg-type]
    assert share.others() is None
    time.sleep(0.25)
    found = share.others()
    assert found is not None
    assert 0 <= found <= 1


def test_the_yardstick_takes_time() -> None:
    """The fixed piece of work takes some, and not much."""
    assert 0 < yardstick() < 5


# Energy ---------------------------------------------------------------------------------------------------

RAPL = {
    "/sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "/sys/class/powercap/intel-rapl:0/energy_uj": "9000000\n",
    "/sys/class/powercap/intel-rapl:0/max_energy_range_uj": "10000000\n",
    "/sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "/sys/class/powercap/intel-rapl:0:0/energy_uj": "5\n",
    "/sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": "10000000\n",
    "/sys/class/powercap/intel-rapl:1/name": "package-1\n",
    "/sys/class/powercap/intel-rapl:1/energy_uj": "1000000\n",
    "/sys/class/powercap/intel-rapl:1/max_energy_range_uj": "10000000\n",
}


def test_energy_is_read_of_packages_only_and_over_the_limit(tmp_path: Path) -> None:
    """The packages' counters are added, their parts are not, and a counter that began anew is understood."""
    meter = EnergyMeter(write(tmp_path, RAPL))
    before = meter.read()
    write(
        tmp_path,
        {
            "/sys/class/powercap/intel-rapl:0/energy_uj": "500000",
            "/sys/class/powercap/intel-rapl:1/energy_uj": "3000000",
        },
    )

    assert meter.sources == ("package-0", "package-1")
    assert meter.joules(before, meter.read()) == pytest.approx(1.5 + 2.0)


def test_what_cannot_be_read_is_no_energy(tmp_path: Path) -> None:
    """Without counters, or with one that has gone meanwhile, there is no figure."""
    nothing = EnergyMeter(Host(root=tmp_path / "empty"))
    meter = EnergyMeter(write(tmp_path, RAPL))
    before = meter.read()
    (tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj").unlink()

    assert (nothing.sources, nothing.read(), nothing.joules({}, {})) == ((), {}, None)
    assert meter.joules(before, meter.read()) is None


# Accelerators ---------------------------------------------------------------------------------------------

SMI = """#!/bin/sh
echo "$@" > "$(dirname "$0")/arguments"
while :; do
  echo "0, 87, 1000, 250.50"
  echo "1, [N/A], 2000, [Not Supported]"
  echo "nonsense"
  sleep 0.05
done
"""


def device(identity: str) -> Device:
    """A device."""
    api, _, number = identity.partition(":")
    return Device(id=identity, api=api, index=int(number), name="A GPU", vendor="any")


def test_nvidias_devices_are_read_through_their_tool(tmp_path: Path) -> None:
    """Utilisation, memory and power of each device are read; what it does not say is unknown."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    host = Host(os="linux", environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    began = time.monotonic()
    watch = AcceleratorWatch([device("cuda:0"), device("cuda:1")], host)
    try:
        used = watch.memory_used("cuda:0", patience=60.0)
        silent = watch.memory_used("cuda:1", patience=60.0)
        readings = watch.readings("cuda:0", began, time.monotonic())
        other = watch.readings("cuda:1", began, time.monotonic())
    finally:
        watch.close()

    assert (used, silent) == (1000 * 2**20, 2000 * 2**20)
    assert {(r.utilization, r.watts) for r in readings} == {(87.0, 250.5)}
    assert {(r.utilization, r.watts) for r in other} == {(None, None)}
    assert "-lms" in (tmp_path / "arguments").read_text()
    watch.close()


def test_amds_devices_are_read_from_the_kernel(tmp_path: Path) -> None:
    """The kernel's files of each card give the same."""
    card = "/sys/class/drm/card1/device"
    host = write(
        tmp_path,
        {
            f"{card}/gpu_busy_percent": "42\n",
            f"{card}/mem_info_vram_used": "123456\n",
            f"{card}/hwmon/hwmon3/power1_average": "15000000\n",
            "/sys/class/drm/card0/device/vendor": "0x8086\n",
        },
    )
    began = time.monotonic()
    watch = AcceleratorWatch([device("rocm:0")], host)
    try:
        used = watch.memory_used("rocm:0", patience=60.0)
        readings = watch.readings("rocm:0", began, time.monotonic())
    finally:
        watch.close()

    assert used == 123456
    assert {(r.utilization, r.watts) for r in readings} == {(42.0, 15.0)}


def test_without_a_tool_nothing_is_read(tmp_path: Path) -> None:
    """A device whose driver's tool is missing gives no readings and no error, and no time is lost on it."""
    watch = AcceleratorWatch([device("cuda:0"), device("metal:0")], Host(root=tmp_path, environ={"PATH": ""}))

    assert watch.memory_used("cuda:0", patience=600.0) is None
    watch.close()


# The environment ------------------------------------------------------------------------------------------


def test_the_environment_says_what_matters(tmp_path: Path, misbehaving: Any) -> None:
    """Hardware, versions, governors and boost are in it; the machine's name is not."""
    host = write(
        tmp_path,
        {
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
            "/sys/devices/system/cpu/cpu2/online": "0\n",
            "/sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
        },
    )
    runtime = Runtime()
    found = observe(runtime.system, [runtime.backends.reports()["sound"]], host)
    again = observe(runtime.system, [], Host(root=tmp_path / "none"))

    assert found.governors == ("performance", "powersave")
    assert found.boost is False
    assert found.packages == {"An echo": "1.0", "misbehaving": "1.0"}
    assert found.cpu == runtime.system.cpu.model
    assert os.uname().nodename not in str(attrs.astuple(found))
    assert (again.governors, again.boost, again.machine) == ((), None, found.machine)


def test_a_little_less_memory_is_the_same_machine(reports: Any) -> None:
    """What the firmware takes of the memory differs from start to start, and makes no other machine."""
    runtime = Runtime()
    system = attrs.evolve(runtime.system, memory=attrs.evolve(runtime.system.memory, total=16 * 2**30))
    less = attrs.evolve(system, memory=attrs.evolve(system.memory, total=16 * 2**30 - 50_000_000))
    more = attrs.evolve(system, memory=attrs.evolve(system.memory, total=32 * 2**30))
    one, two, three = (observe(entry, [], Host.current()).machine for entry in (system, less, more))

    assert one == two != three


def test_differences_are_told_where_both_are_known(reports: Any) -> None:
    """What is unknown on one side is no difference, and drivers and versions are."""
    gpu = {"id": "cuda:0", "name": "A GPU", "memory_total": 1, "driver": "550"}
    base = attrs.evolve(reports.environment, boost=None, devices=(gpu,), packages={"a": "1", "gone": "1"})
    new = attrs.evolve(
        base,
        boost=True,
        devices=({**gpu, "driver": "560"},),
        packages={"a": "2", "new": "1"},
        on_battery=True,
    )

    assert describe_differences(base, new) == (
        "a was 1 and is now 2.",
        "The driver of cuda:0 was 550 and is now 560.",
    )
