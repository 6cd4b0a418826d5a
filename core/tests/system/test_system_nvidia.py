"""NVIDIA GPUs: no odd cell hides a device, no broken tool hangs the probe, and visibility follows CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.system.nvidia import OLD_FIELDS, devices_from_nvml, parse_nvidia_smi, probe_nvidia
from modelplug.system.nvidia_mig import apply_visibility, attach_mig, parse_mig_list
from modelplug.system.visibility import select_devices

if TYPE_CHECKING:
    from core.tests.system.conftest import Machine

Recorded = Callable[[str], str]
MIB = 1024 * 1024


def test_no_sign_of_a_driver_is_absent_without_a_process(machine: Machine) -> None:
    """Without device files and nvidia-smi the answer is `absent`, even where NVML's module is installed."""
    machine.modules.add("pynvml")
    machine.python = "/nowhere/python"
    found = probe_nvidia(machine.host, deadline=20)
    assert (found.state, found.devices) == ("absent", ())


def test_one_gpu(machine: Machine) -> None:
    """A row of nvidia-smi becomes a device with sizes in bytes."""
    machine.printer("nvidia-smi", "nvidia/one_h200.csv")
    found = probe_nvidia(machine.host, deadline=20)
    (device,) = found.devices
    assert found.state == "ok"
    assert (device.id, device.name, device.vendor) == ("cuda:0", "NVIDIA H200", "nvidia")
    assert (device.memory_total, device.memory_free) == (143771 * MIB, 143155 * MIB)
    assert (device.driver, device.compute_capability) == ("570.86.15", "9.0")
    assert device.uuid == "GPU-5a1c3f9e-7b2d-4e6f-8a90-1b2c3d4e5f60"
    assert device.visible


def test_two_sizes_stay_two_devices(recorded: Recorded) -> None:
    """Two GPUs of different size keep their own memory."""
    devices, problems = parse_nvidia_smi(recorded("nvidia/two_sizes.csv"))
    assert [device.memory_total for device in devices] == [12288 * MIB, 24564 * MIB]
    assert problems == []


def test_cells_that_are_not_available_keep_the_device(recorded: Recorded) -> None:
    """`[N/A]` and its like become None in that cell, and every device stays."""
    devices, problems = parse_nvidia_smi(recorded("nvidia/not_available.csv"))
    assert [(device.memory_total, device.memory_free) for device in devices] == [
        (None, None),
        (2002 * MIB, None),
        (40960 * MIB, None),
    ]
    assert [device.compute_capability for device in devices] == ["12.1", None, "8.0"]
    assert problems == []


@given(
    cells=st.lists(
        st.sampled_from(
            ["[N/A]", "[Not Supported]", "[Insufficient Permissions]", "[Unknown Error]", "", "ERR!", "N/A"]
        ),
        min_size=6,
        max_size=6,
    )
)
def test_no_unavailable_cell_hides_a_device(cells: list[str]) -> None:
    """Whatever cells are unavailable, a row with an index is a device, and so is its neighbour."""
    text = f"0, {', '.join(cells)}, [N/A]\n1, GPU-x, NVIDIA L4, 23034, 22000, 550.1, 8.9, [N/A]\n"
    devices, problems = parse_nvidia_smi(text)
    assert [device.index for device in devices] == [0, 1]
    assert devices[0].memory_total is None
    assert problems == []


@given(text=st.text(max_size=400))
def test_any_text_is_parsed_without_an_exception(text: str) -> None:
    """Any text gives devices and problems, never an exception, and no line is lost in silence."""
    devices, problems = parse_nvidia_smi(text)
    assert len(devices) + len(problems) == sum(bool(line.strip()) for line in text.splitlines())
    parse_mig_list(text)


def test_an_unreadable_row_is_reported_and_the_others_stay() -> None:
    """A row of another shape is quoted as a problem beside the devices of the good rows."""
    devices, problems = parse_nvidia_smi(
        "Unable to determine\n0, GPU-x, NVIDIA L4, 23034, 22000, 550.1, 8.9, [N/A]\n"
    )
    assert [device.name for device in devices] == ["NVIDIA L4"]
    assert problems == ["unreadable row of nvidia-smi: 'Unable to determine'"]


def test_a_comma_in_the_name_stays_in_the_name() -> None:
    """Only the name can hold commas."""
    devices, _ = parse_nvidia_smi("0, GPU-x, Quadro, special, edition, 100, 50, 1.0, 8.9, [N/A]\n")
    assert (devices[0].name, devices[0].memory_total) == ("Quadro, special, edition", 100 * MIB)


def test_an_old_driver_is_asked_again_with_fewer_fields(machine: Machine, recorded: Recorded) -> None:
    """A driver that does not know a field is asked the shorter question."""
    machine.file("/old.csv", recorded("nvidia/old_driver.csv"))
    machine.tool(
        "nvidia-smi",
        'case "$1" in\n'
        "*compute_cap*) echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2;;\n"
        f"*) /bin/cat '{machine.root / 'old.csv'}';;\nesac",
    )
    found = probe_nvidia(machine.host, deadline=20)
    assert (found.state, found.devices[0].name) == ("ok", "Tesla K80")
    assert found.devices[0].compute_capability is None
    assert len(OLD_FIELDS) == 6


def test_a_driver_that_is_not_loaded_is_quoted(machine: Machine, recorded: Recorded) -> None:
    """When nvidia-smi fails, the outcome says what it said."""
    machine.file("/said.txt", recorded("nvidia/no_driver.txt"))
    machine.tool("nvidia-smi", f"/bin/cat '{machine.root / 'said.txt'}'; exit 9")
    found = probe_nvidia(machine.host, deadline=20)
    assert found.state == "failed"
    assert "status 9: NVIDIA-SMI has failed because it couldn't communicate" in found.detail


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("/bin/sleep 60", "did not answer"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("echo garbage", "unreadable row"),
        ("exit 0", "lists no GPU"),
        ("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "stopped"),
    ],
)
def test_a_broken_tool_is_contained(
    machine: Machine, in_time: Callable[..., Any], script: str, says: str
) -> None:
    """A tool that hangs, crashes, floods or talks nonsense is a failure with its cause, in time."""
    machine.tool("nvidia-smi", script)
    deadline = 1 if "sleep" in script or "while" in script else 20
    found = in_time(4, lambda: probe_nvidia(machine.host, deadline=deadline))
    assert (found.state, found.devices) == ("failed", ())
    assert says in found.detail


def test_device_files_without_tools_are_a_failure(machine: Machine) -> None:
    """A GPU in a container without the driver's tools is said to be there but out of reach."""
    machine.file("/dev/nvidia0")
    found = probe_nvidia(machine.host, deadline=1)
    assert (found.state, found.detail) == ("failed", "nvidia-smi is not on PATH")


# Visibility


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("0,2,-1,1", [0, 2]),
        ("0,7,1", [0]),
        ("0,0", []),
        (" 1 , 2 ", [1, 2]),
        ("NoDevFiles", []),
        ("1abc", [1]),
        ("GPU-bbb", [1]),
        ("gpu-BBB,GPU-c", [1, 2]),
        ("GPU-", []),
        ("GPU-zzz,0", []),
    ],
)
def test_cuda_visible_devices(value: str | None, expected: list[int]) -> None:
    """The variable selects as the CUDA runtime does: order kept, the first bad entry ends the list."""
    uuids = ["GPU-aaa-1", "GPU-bbb-2", "GPU-ccc-3"]
    assert select_devices(value, uuids, prefixes=("GPU-",)) == expected


@given(value=st.text(alphabet="0123-,GPUx ", max_size=20), count=st.integers(0, 4))
def test_selection_is_always_valid(value: str, count: int) -> None:
    """Whatever the variable holds, the result has valid positions and none twice."""
    chosen = select_devices(value, [f"GPU-{number}" for number in range(count)], prefixes=("GPU-",))
    assert len(chosen) == len(set(chosen))
    assert all(0 <= position < count for position in chosen)


def test_hidden_devices_stay_in_the_list(machine: Machine) -> None:
    """A hidden GPU is listed as not visible, and the order of numbering is warned about."""
    machine.printer("nvidia-smi", "nvidia/two_sizes.csv")
    machine.environ["CUDA_VISIBLE_DEVICES"] = "1"
    found = probe_nvidia(machine.host, deadline=20)
    assert [device.visible for device in found.devices] == [False, True]
    assert "1 visible" in found.detail
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in found.detail
    machine.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in probe_nvidia(machine.host, deadline=20).detail


def test_mig_slices_are_listed(machine: Machine, recorded: Recorded) -> None:
    """A GPU in MIG mode is followed by its slices; as a whole it is not usable."""
    machine.file("/a.csv", recorded("nvidia/mig.csv")).file("/b.txt", recorded("nvidia/mig_list.txt"))
    machine.tool(
        "nvidia-smi",
        f"[ \"$1\" = -L ] && exec /bin/cat '{machine.root}/b.txt'\nexec /bin/cat '{machine.root}/a.csv'",
    )
    found = probe_nvidia(machine.host, deadline=20)
    assert [(device.id, device.visible) for device in found.devices] == [
        ("cuda:0", False),
        ("cuda:0:mig:0", True),
        ("cuda:0:mig:1", False),
        ("cuda:1", False),
    ]
    assert found.devices[1].name == "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    assert found.devices[1].memory_total is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("MIG-d0000000-1111-5222-8333-000000000002", ["cuda:0:mig:1"]),
        ("MIG-d", ["cuda:0:mig:1"]),
        ("1", ["cuda:1"]),
        ("1,0", ["cuda:0:mig:0"]),
        ("GPU-b", ["cuda:1"]),
        ("MIG-nothing", []),
    ],
)
def test_selecting_mig_slices(recorded: Recorded, value: str, expected: list[str]) -> None:
    """One slice is visible at most, chosen by its UUID or through its GPU."""
    devices, _ = parse_nvidia_smi(recorded("nvidia/mig.csv"))
    devices = attach_mig(devices, parse_mig_list(recorded("nvidia/mig_list.txt")))
    assert [device.id for device in apply_visibility(devices, value) if device.visible] == expected


def test_nvml_answer_with_gaps() -> None:
    """A device that NVML refuses to open is listed with the reason, beside the others."""
    devices = devices_from_nvml(
        {
            "driver": "570.1",
            "devices": [
                {"index": 0, "problem": "the driver refuses access: Insufficient Permissions"},
                {"index": 1, "name": "NVIDIA L4", "memory_total": 5, "memory_free": None, "mig": False},
            ],
        }
    )
    assert [device.name for device in devices] == ["NVIDIA GPU", "NVIDIA L4"]
    assert devices[0].notes == ("the driver refuses access: Insufficient Permissions",)
    assert (devices[1].memory_total, devices[1].memory_free) == (5, None)
