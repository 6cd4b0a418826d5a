"""Apple's unified memory is labelled as what it is, and Vulkan repeats no device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.system.apple import parse_displays, probe_apple, working_set
from modelplug.system.cpu import parse_sysctl
from modelplug.system.info import Device
from modelplug.system.vulkan import merge_devices, parse_vulkaninfo, probe_vulkan

if TYPE_CHECKING:
    from core.tests.system.conftest import Machine

Recorded = Callable[[str], str]
GIB = 1024**3


def test_a_limit_that_was_set_is_used() -> None:
    """The limit set with sysctl is the working set."""
    limit, note = working_set({"hw.memsize": str(64 * GIB), "iogpu.wired_limit_mb": "57344"})
    assert limit == 56 * GIB
    assert "estimate" not in note


@pytest.mark.parametrize(("memory", "share"), [(16, 2 / 3), (128, 3 / 4)])
def test_the_usual_limit_is_called_an_estimate(memory: int, share: float) -> None:
    """Without a set limit the usual fraction is given, and called an estimate."""
    limit, note = working_set({"hw.memsize": str(memory * GIB), "iogpu.wired_limit_mb": "0"})
    assert limit == int(memory * GIB * share)
    assert note.startswith("estimate")


def test_unknown_memory_stays_unknown() -> None:
    """Without the machine's memory there is no limit."""
    assert working_set({})[0] is None


def test_apple_silicon_needs_no_process(machine: Machine, recorded: Recorded) -> None:
    """The quick probe knows an Apple chip from sysctl alone."""
    machine.os = "darwin"
    values = parse_sysctl(recorded("cpu/sysctl_m2.txt"))
    found = probe_apple(machine.host, deep=False, deadline=20, sysctl=values, available=4 * GIB)
    (device,) = found.devices
    assert (device.id, device.name, device.unified_memory) == ("metal:0", "Apple M2 Pro", True)
    assert (device.memory_total, device.memory_free) == (int(16 * GIB * 2 / 3), 4 * GIB)
    assert "estimate" in device.notes[0]


@pytest.mark.parametrize("script", ["/bin/sleep 60", "echo '{'", "exit 1"])
def test_a_broken_system_profiler_does_not_hide_the_chip(
    machine: Machine, recorded: Recorded, script: str
) -> None:
    """When system_profiler fails, the chip is still known, and the cause is reported."""
    machine.os = "darwin"
    machine.tool("system_profiler", script)
    values = parse_sysctl(recorded("cpu/sysctl_m2.txt"))
    deadline = 0.5 if "sleep" in script else 20
    found = probe_apple(machine.host, deep=True, deadline=deadline, sysctl=values)
    assert [device.name for device in found.devices] == ["Apple M2 Pro"]
    assert "system_profiler" in found.detail


def test_an_intel_mac_has_separate_memory(machine: Machine) -> None:
    """GPUs without Metal are left out, and a graphics card's memory is its own."""
    machine.os = "darwin"
    machine.printer("system_profiler", "apple/intel_two_gpus.json")
    found = probe_apple(machine.host, deep=False, deadline=20, sysctl={"hw.memsize": str(32 * GIB)})
    assert [(device.vendor, device.memory_total, device.unified_memory) for device in found.devices] == [
        ("intel", None, True),
        ("amd", 4 * GIB, False),
    ]


def test_metal_is_absent_elsewhere(machine: Machine) -> None:
    """On Linux there is no Metal."""
    assert probe_apple(machine.host, deep=True, deadline=1, sysctl={}).state == "absent"


@given(text=st.text(max_size=200) | st.sampled_from(["[]", '{"SPDisplaysDataType": 3}', "null"]))
def test_any_text_is_parsed(text: str) -> None:
    """Any text gives GPUs or a reason, from either tool, and never an exception."""
    displays, reason = parse_displays(text)
    assert bool(displays) != bool(reason)
    parse_vulkaninfo(text)


# Vulkan


def test_software_renderers_are_left_out(recorded: Recorded) -> None:
    """Llvmpipe is no GPU."""
    (device,) = parse_vulkaninfo(recorded("vulkan/nvidia_and_llvmpipe.txt"))
    assert (device.id, device.name, device.vendor) == ("vulkan:0", "NVIDIA GeForce RTX 4090", "nvidia")
    assert (device.memory_total, device.driver) == (None, "550.54.14")


def test_a_card_with_two_drivers_is_one_card(recorded: Recorded) -> None:
    """One card under two Vulkan drivers counts once; an integrated GPU shares main memory."""
    devices = parse_vulkaninfo(recorded("vulkan/amd_and_intel.txt"))
    assert [(device.index, device.vendor, device.unified_memory) for device in devices] == [
        (0, "amd", False),
        (2, "intel", True),
    ]


def gpu(api: str, name: str, vendor: str, uuid: str | None = None, index: int = 0) -> Device:
    """A GPU that some api shows."""
    return Device(
        id=f"{api}:{index}", api=api, index=index, name=name, vendor=vendor, uuid=uuid, memory_total=7
    )


def test_a_device_known_by_uuid_is_not_repeated(recorded: Recorded) -> None:
    """A GPU that CUDA shows is recognised by its UUID, whatever it is called."""
    known = [gpu("cuda", "something else", "nvidia", "GPU-22222222-aaaa-bbbb-cccc-000000000002")]
    assert merge_devices(known, parse_vulkaninfo(recorded("vulkan/nvidia_and_llvmpipe.txt"))) == tuple(known)


def test_a_device_known_by_another_name_is_not_repeated(recorded: Recorded) -> None:
    """ROCm's and Vulkan's names for one card differ; the card counts once, other vendors' stay."""
    known = [gpu("rocm", "Navi 31 [Radeon RX 7900 XT/7900 XTX]", "amd")]
    merged = merge_devices(known, parse_vulkaninfo(recorded("vulkan/amd_and_intel.txt")))
    assert [device.id for device in merged] == ["rocm:0", "vulkan:2"]


def test_two_equal_cards_are_two(recorded: Recorded) -> None:
    """Of two equal cards, of which CUDA shows one, the other is added."""
    text = recorded("vulkan/nvidia_and_llvmpipe.txt")
    one = parse_vulkaninfo(text)[0]
    known = [gpu("cuda", "NVIDIA GeForce RTX 4090", "nvidia", "GPU-1")]
    other = Device(id="vulkan:1", api="vulkan", index=1, name=one.name, vendor="nvidia")
    assert [device.id for device in merge_devices(known, [one, other])] == ["cuda:0", "vulkan:1"]


def test_the_kernel_s_card_gets_vulkan_s_name(recorded: Recorded) -> None:
    """A card that only the kernel showed takes Vulkan's identity and keeps its memory."""
    known = [Device(id="amdgpu:card0", api="vulkan", index=0, name="AMD GPU", vendor="amd", memory_total=5)]
    merged = merge_devices(known, parse_vulkaninfo(recorded("vulkan/amd_and_intel.txt")))
    assert [(device.id, device.memory_total) for device in merged] == [("vulkan:0", 5), ("vulkan:2", None)]


def test_a_mig_slice_does_not_stand_for_the_gpu(recorded: Recorded) -> None:
    """Only whole GPUs are matched with Vulkan's."""
    piece = Device(
        id="cuda:0:mig:0", api="cuda", index=0, name="NVIDIA GeForce RTX 4090 MIG", vendor="nvidia"
    )
    merged = merge_devices([piece], parse_vulkaninfo(recorded("vulkan/nvidia_and_llvmpipe.txt")))
    assert [device.id for device in merged] == ["cuda:0:mig:0", "vulkan:0"]


@pytest.mark.parametrize(
    ("script", "state"), [("exit 1", "failed"), ("/bin/sleep 60", "failed"), ("echo Devices:", "absent")]
)
def test_vulkaninfo_is_contained(machine: Machine, script: str, state: str) -> None:
    """A vulkaninfo that fails or hangs is a failure; one that lists nothing means there is no GPU."""
    assert probe_vulkan(machine.host, deadline=0.5).state == "absent"
    machine.tool("vulkaninfo", script)
    assert probe_vulkan(machine.host, deadline=0.5 if "sleep" in script else 20).state == state
