"""The memory bandwidth is measured within its bounds, remembered, and never made up."""

from __future__ import annotations

import json
import mmap
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelplug.system as system_room
from modelplug.errors import ModelplugError
from modelplug.system import bandwidth
from modelplug.system.bandwidth import Bandwidth, cache_key, load_cached, measure, store
from modelplug.system.info import CpuInfo, MemoryInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.tests.system.conftest import Machine

MIB = 1024 * 1024
CPU = CpuInfo(model="Test", architecture="x86_64", physical_cores=2, logical_cores=2, usable_cores=2)
MEMORY = MemoryInfo(total=8 * 1024 * MIB, available=512 * MIB)
KNOWN = Bandwidth(
    bytes_per_second=2e10,
    threads=2,
    buffer_bytes=64 * MIB,
    seconds=1.0,
    measured_at="2026-01-01T00:00:00+00:00",
)


def test_it_is_measured_within_its_bounds(machine: Machine, in_time: Callable[..., Any]) -> None:
    """A measurement ends in time, stays within an eighth of the memory, and is a plausible speed."""
    result = in_time(1.5, lambda: measure(CPU, MEMORY, host=machine.host, seconds=0.3))
    assert result.buffer_bytes == 64 * MIB
    assert result.threads == 2
    # Anything that runs this test reads more than 100 MB/s and less than 10 TB/s.
    assert 1e8 < result.bytes_per_second < 1e13


def test_threads_and_buffers_are_capped(machine: Machine) -> None:
    """A large machine is measured with at most 256 MiB and 16 threads."""
    cpu = attrs.evolve(CPU, usable_cores=192, logical_cores=192)
    memory = attrs.evolve(MEMORY, available=1024 * 1024 * MIB)
    result = measure(cpu, memory, host=machine.host, seconds=0.1)
    assert (result.threads, result.buffer_bytes) == (16, 256 * MIB)


def test_bytes_are_counted_as_read(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """The rate is the bytes that were read, each once, over the time it took."""
    calls: list[int] = []
    lock = threading.Lock()

    def slow_memchr(_address: int, _byte: int, count: int) -> None:
        time.sleep(0.01)
        with lock:
            calls.append(count)

    monkeypatch.setattr(bandwidth, "_memchr", lambda: slow_memchr)
    cpu = attrs.evolve(CPU, usable_cores=1)
    # A busy machine lets a sleeper oversleep, but not in every round of every measurement.
    rate = max(measure(cpu, MEMORY, host=machine.host, seconds=0.3).bytes_per_second for _ in range(3))
    assert set(calls) == {4 * MIB}
    # One piece of 4 MiB takes at least 10 ms.
    assert 1 * MIB / 0.01 < rate <= 4 * MIB / 0.01


def test_too_little_memory_is_an_error(machine: Machine) -> None:
    """With next to no memory the error says how much is needed."""
    with pytest.raises(ModelplugError) as caught:
        measure(CPU, attrs.evolve(MEMORY, available=100 * MIB), host=machine.host)
    assert caught.value.why == "100 MiB of memory are available, 128 MiB are needed"
    assert caught.value.advice


def test_a_buffer_that_can_not_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """When one thread gets no buffer, all end, and the error says so."""
    real, count = mmap.mmap, iter(range(100))

    def scarce(handle: int, size: int) -> object:
        if next(count) > 0:
            raise OSError(12, "Cannot allocate memory")
        return real(handle, size)

    monkeypatch.setattr(mmap, "mmap", scarce)
    with pytest.raises(ModelplugError, match="Cannot allocate memory"):
        measure(CPU, MEMORY, host=machine.host)


@pytest.mark.parametrize(
    ("size", "shared", "suspected"),
    [("1024K", "0-1", False), ("393216K", "0-1", True), ("49152K", "0", True), ("", "", False)],
)
def test_large_caches_are_flagged(machine: Machine, size: str, shared: str, suspected: bool) -> None:
    """Where the caches could hold the buffers, the result says so."""
    machine.file("/sys/devices/system/cpu/cpu0/cache/index3/size", f"{size}\n")
    machine.file("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", f"{shared}\n")
    assert measure(CPU, MEMORY, host=machine.host, seconds=0.05).cache_suspected is suspected


# Remembering


def test_a_measurement_is_remembered(tmp_path: Path) -> None:
    """What was stored is found again under its key, and under no other."""
    file = tmp_path / "new" / "bandwidth.json"
    store(file, cache_key(CPU, MEMORY), KNOWN)
    assert load_cached(file, cache_key(CPU, MEMORY)) == KNOWN
    assert load_cached(file, cache_key(attrs.evolve(CPU, usable_cores=1), MEMORY)) is None
    assert load_cached(file, cache_key(CPU, attrs.evolve(MEMORY, total=1))) is None
    assert [path.name for path in file.parent.iterdir()] == ["bandwidth.json"]


def test_several_machines_share_a_file_up_to_a_limit(tmp_path: Path) -> None:
    """A home shared by many machines keeps the latest sixteen."""
    file = tmp_path / "bandwidth.json"
    for number in range(20):
        store(file, f"machine {number}", KNOWN)
    assert load_cached(file, "machine 3") is None
    assert load_cached(file, "machine 4") == KNOWN
    assert load_cached(file, "machine 19") == KNOWN


@given(content=st.binary(max_size=60))
def test_a_damaged_file_is_no_measurement(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any damaged file counts as no measurement, and can be replaced."""
    file = tmp_path_factory.mktemp("damaged") / "bandwidth.json"
    file.write_bytes(content)
    assert load_cached(file, "key") is None
    store(file, "key", KNOWN)
    assert load_cached(file, "key") == KNOWN


@pytest.mark.parametrize("rate", [0, -1, "fast", None, True, 1e300])
def test_a_nonsensical_entry_is_no_measurement(tmp_path: Path, rate: object) -> None:
    """An entry whose rate makes no sense is not believed."""
    file = tmp_path / "bandwidth.json"
    entry = {**attrs.asdict(KNOWN), "bytes_per_second": rate}
    file.write_text(json.dumps({"version": 1, "entries": {"key": entry}}))
    assert load_cached(file, "key") is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last step of writing fails, the old file is whole and no temporary one stays."""
    from pathlib import Path as RealPath

    file = tmp_path / "bandwidth.json"
    store(file, "key", KNOWN)

    def full(self: RealPath, target: RealPath) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RealPath, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store(file, "other", KNOWN)
    assert load_cached(file, "key") == KNOWN
    assert [path.name for path in tmp_path.iterdir()] == ["bandwidth.json"]


def test_it_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call answers from the file; without the cache it measures again."""
    count: list[int] = []

    def counting(*_arguments: object, **_options: object) -> Bandwidth:
        count.append(1)
        return KNOWN

    monkeypatch.setattr(bandwidth, "measure", counting)
    file = tmp_path / "bandwidth.json"
    assert system_room.measure_bandwidth(cache_file=file) == KNOWN
    assert system_room.measure_bandwidth(cache_file=file) == KNOWN
    assert len(count) == 1
    system_room.measure_bandwidth(cache_file=file, use_cache=False)
    assert len(count) == 2


def test_the_home_variable_decides_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`MODELPLUG_HOME` is where it is remembered."""
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path))
    monkeypatch.setattr(bandwidth, "measure", lambda *_a, **_k: KNOWN)
    system_room.measure_bandwidth()
    assert [path.name for path in tmp_path.rglob("*.json")] == ["bandwidth.json"]


def test_a_place_that_can_not_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement that can't be remembered is returned all the same, with a warning."""
    monkeypatch.setattr(bandwidth, "measure", lambda *_a, **_k: KNOWN)
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.warns(UserWarning, match="can't be remembered"):
        assert system_room.measure_bandwidth(cache_file=blocker / "bandwidth.json") == KNOWN
