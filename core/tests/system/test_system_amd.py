"""AMD GPUs: two generations of rocm-smi, the kernel's files, and ROCm's variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.system.amd import apply_visibility, parse_rocm_smi, probe_amd

if TYPE_CHECKING:
    from core.tests.system.conftest import Machine

Recorded = Callable[[str], str]


def card(machine: Machine, name: str, **files: str) -> None:
    """Describe a card in the made-up machine's /sys."""
    for file, text in {"vendor": "0x1002\n", **files}.items():
        machine.file(f"/sys/class/drm/{name}/device/{file}", text)


def test_rocm_5(recorded: Recorded) -> None:
    """The keys of ROCm 5 are understood, and `N/A` costs a value, not a device."""
    devices, problem = parse_rocm_smi(recorded("amd/rocm5.json"))
    first, second = devices
    assert problem == ""
    assert first.name == "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]"
    assert (first.memory_total, first.memory_free) == (17163091968, 15800000000)
    assert (first.driver, first.uuid) == ("5.18.13", "GPU-3a1f8c5e2b7d9046")
    assert (second.name, second.memory_total, second.memory_free) == ("0x164e", 536870912, None)


@pytest.mark.parametrize("file", ["amd/rocm6.json", "amd/low_power.txt"])
def test_rocm_6(recorded: Recorded, file: str) -> None:
    """The keys of ROCm 6 are understood, also behind a warning."""
    devices, problem = parse_rocm_smi(recorded(file))
    assert problem == ""
    assert [device.name for device in devices] == ["AMD Instinct MI300X OAM"] * 2
    assert [device.memory_free for device in devices] == [206141652992 - 297287680, 106141652992]


@given(text=st.text(max_size=200) | st.sampled_from(["{}", "[]", '{"card0": 3}', '{"card0": {}}', "{"]))
def test_any_text_gives_devices_or_a_problem(text: str) -> None:
    """Any text gives devices or says what is wrong with it."""
    devices, problem = parse_rocm_smi(text)
    assert bool(devices) != bool(problem)


def test_nothing_there_is_absent(machine: Machine) -> None:
    """Without device file, card and tool there is no AMD GPU."""
    card(machine, "card0", vendor="0x10de\n")
    assert probe_amd(machine.host, deadline=1).state == "absent"


def test_rocm_smi_is_asked(machine: Machine) -> None:
    """With a device file and rocm-smi the devices come from the tool."""
    machine.file("/dev/kfd").printer("rocm-smi", "amd/rocm6.json")
    found = probe_amd(machine.host, deadline=20)
    assert (found.state, [device.id for device in found.devices]) == ("ok", ["rocm:0", "rocm:1"])


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("/bin/sleep 60", "did not answer"),
        ("echo no", "no JSON"),
        ("kill -ABRT $$", "SIGABRT"),
        ("echo {}", "no GPU"),
    ],
)
def test_the_kernel_helps_out(machine: Machine, in_time: Callable[..., Any], script: str, says: str) -> None:
    """When rocm-smi is broken the kernel's files still name the card, and the cause is reported."""
    machine.file("/dev/kfd").tool("rocm-smi", script)
    card(
        machine,
        "card1",
        mem_info_vram_total="1000\n",
        mem_info_vram_used="400\n",
        product_name="Radeon Pro\n",
    )
    machine.file("/sys/class/drm/card1-DP-1/status", "connected")
    deadline = 0.5 if "sleep" in script else 20
    found = in_time(3, lambda: probe_amd(machine.host, deadline=deadline))
    (device,) = found.devices
    assert (device.id, device.name, device.memory_total, device.memory_free) == (
        "rocm:0",
        "Radeon Pro",
        1000,
        600,
    )
    assert says in found.detail


def test_a_card_without_rocm_is_vulkan_s(machine: Machine) -> None:
    """A card without /dev/kfd is not offered to ROCm."""
    card(machine, "card0", device="0x744c\n", mem_info_vram_total="1000\n")
    (device,) = probe_amd(machine.host, deadline=1).devices
    assert (device.api, device.name, device.memory_free) == ("vulkan", "AMD GPU [1002:744c]", None)
    assert device.notes


def test_a_device_file_that_nothing_explains_is_a_failure(machine: Machine) -> None:
    """With /dev/kfd alone the probe says that it can't name the GPU."""
    machine.file("/dev/kfd")
    assert probe_amd(machine.host, deadline=1).state == "failed"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, [True, True]),
        ({"HIP_VISIBLE_DEVICES": "1"}, [False, True]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, [False, True]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"}, [False, False]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-8c2f"}, [False, True]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [True, False]),
        ({"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": ""}, [False, False]),
    ],
)
def test_visibility(recorded: Recorded, environ: dict[str, str], expected: list[bool]) -> None:
    """ROCm's filter comes first, and HIP counts among what it leaves."""
    devices, _ = parse_rocm_smi(recorded("amd/rocm6.json"))
    assert [device.visible for device in apply_visibility(devices, environ)] == expected
