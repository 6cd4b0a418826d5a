"""The machine in words and as data."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.system.info import CpuInfo, Device, MemoryInfo, ProbeOutcome, SystemInfo
from modelplug.system.report import describe, describe_device, format_bytes, from_dict, to_dict

GIB = 1024**3
DEVICE = Device(
    id="cuda:0",
    api="cuda",
    index=0,
    name="NVIDIA L4",
    vendor="nvidia",
    memory_total=24 * GIB,
    memory_free=20 * GIB,
    driver="550.1",
    compute_capability="8.9",
)
SYSTEM = SystemInfo(
    os="linux",
    os_version="Test Linux",
    python="3.12.1",
    cpu=CpuInfo(
        model="Test CPU",
        architecture="x86_64",
        physical_cores=None,
        logical_cores=8,
        usable_cores=2,
        instruction_sets=frozenset({"fma", "avx2"}),
    ),
    memory=MemoryInfo(total=4 * GIB, available=3 * GIB, limit=4 * GIB, bandwidth=5.1e10),
    devices=(DEVICE, attrs.evolve(DEVICE, id="cuda:1", index=1, memory_total=8 * GIB, memory_free=7 * GIB)),
    probes=(ProbeOutcome(name="nvidia", state="ok", detail="2 found", seconds=0.25),),
)


def test_description() -> None:
    """Every fact has a line, sizes have units, and each GPU has a line of its own."""
    lines = dict(describe(SYSTEM))
    assert lines["Cores"] == "unknown physical, 8 logical, 2 usable by this process"
    assert lines["Instruction sets"] == "avx2, fma"
    assert lines["Memory"] == "3.0 GiB available of 4.0 GiB (limited by a control group)"
    assert lines["Memory bandwidth"] == "51.0 GB/s reading, measured"
    assert lines["GPU cuda:0"] == "NVIDIA L4, 20.0 GiB free of 24.0 GiB, driver 550.1, compute capability 8.9"
    assert lines["GPU cuda:1"].startswith("NVIDIA L4, 7.0 GiB free of 8.0 GiB")
    assert lines["Probe nvidia"] == "ok: 2 found (0.25 s)"
    assert "32.0 GiB" not in str(lines)


def test_description_of_what_is_unknown() -> None:
    """What is unknown is called unknown, never 0."""
    empty = attrs.evolve(SYSTEM, devices=(), memory=MemoryInfo(total=GIB, available=1))
    lines = dict(describe(empty))
    assert lines["GPU"] == "none found"
    assert lines["Memory bandwidth"] == "not measured yet"
    bare = Device(
        id="cuda:0", api="cuda", index=0, name="X", vendor="nvidia", visible=False, notes=("a note",)
    )
    assert describe_device(bare) == "X, memory unknown, not visible to programs started now; a note"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (GIB, "1.0 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_format_bytes(count: int, text: str) -> None:
    """Amounts of memory have binary units."""
    assert format_bytes(count) == text


def test_data_survives_json() -> None:
    """The machine written as JSON and read again is the same machine."""
    assert from_dict(json.loads(json.dumps(to_dict(SYSTEM)))) == SYSTEM


optional_size = st.none() | st.integers(0, 2**50)


@given(
    total=optional_size,
    free=optional_size,
    name=st.text(max_size=20),
    features=st.frozensets(st.text(max_size=8), max_size=4),
    notes=st.lists(st.text(max_size=10), max_size=3),
)
def test_any_record_survives_json(
    total: int | None, free: int | None, name: str, features: frozenset[str], notes: list[str]
) -> None:
    """Whatever the values, nothing is lost on the way through JSON, and it can be described."""
    device = attrs.evolve(DEVICE, memory_total=total, memory_free=free, name=name, notes=tuple(notes))
    system = attrs.evolve(
        SYSTEM, devices=(device,), cpu=attrs.evolve(SYSTEM.cpu, model=name, instruction_sets=features)
    )
    assert from_dict(json.loads(json.dumps(to_dict(system)))) == system
    assert all(isinstance(text, str) for pair in describe(system) for text in pair)
