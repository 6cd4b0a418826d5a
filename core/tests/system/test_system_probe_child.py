"""The vendors' libraries run in a child: whatever they do there, the answer is data or a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import modelplug.system.probe_child
from modelplug.system.amd import probe_amd
from modelplug.system.nvidia import probe_nvidia

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.tests.system.conftest import Machine

SCRIPT = Path(modelplug.system.probe_child.__file__)

FAKE_NVML = """
class NVMLError(Exception): pass
class Memory:
    total, free = 24 * 2**30, 20 * 2**30
def nvmlInit(): print("hello from the library")
def nvmlShutdown(): pass
def nvmlSystemGetDriverVersion(): return b"570.1"
def nvmlDeviceGetCount(): return 3
def nvmlDeviceGetHandleByIndex(index):
    if index == 2: raise NVMLError("Insufficient Permissions")
    return index
def nvmlDeviceGetMemoryInfo(handle):
    if handle == 1: raise NVMLError("Not Supported")
    return Memory
def nvmlDeviceGetCudaComputeCapability(handle): return (8, 9)
def nvmlDeviceGetName(handle): return b"NVIDIA Fake" if handle == 0 else "NVIDIA Fake"
def nvmlDeviceGetUUID(handle): return f"GPU-{handle}"
def nvmlDeviceGetMigMode(handle):
    if handle == 1: return (1, 1)
    raise NVMLError("Not Supported")
def nvmlDeviceGetMaxMigDeviceCount(handle): return 7
def nvmlDeviceGetMigDeviceHandleByIndex(handle, number):
    if number: raise NVMLError("Not Found")
    return "slice"
"""

FAKE_AMDSMI = """
class AmdSmiException(Exception): pass
class AmdSmiMemoryType: VRAM = 0
def amdsmi_init(): pass
def amdsmi_shut_down(): pass
def amdsmi_get_processor_handles(): return ["a", "b"]
def amdsmi_get_gpu_asic_info(handle): return {"market_name": "AMD Instinct MI300X"}
def amdsmi_get_gpu_driver_info(handle): return {"driver_version": "6.7.0"}
def amdsmi_get_gpu_memory_total(handle, kind): return 100
def amdsmi_get_gpu_memory_usage(handle, kind):
    if handle == "b": raise AmdSmiException("fails for no apparent reason")
    return 30
def amdsmi_get_gpu_device_uuid(handle): return "GPU-" + handle
"""


@pytest.fixture
def library(machine: Machine, tmp_path: Path) -> Machine:
    """A machine with an NVIDIA and an AMD device file, and a place for fake libraries."""
    machine.python = sys.executable
    machine.environ["PYTHONPATH"] = str(tmp_path / "libraries")
    (tmp_path / "libraries").mkdir()
    return machine.file("/dev/nvidia0").file("/dev/kfd")


def install(machine: Machine, name: str, text: str) -> None:
    """Put a fake library where the child finds it."""
    (Path(machine.environ["PYTHONPATH"]) / f"{name}.py").write_text(text, encoding="utf-8")
    machine.modules.add(name)


def test_nvml_values_come_through(library: Machine) -> None:
    """Names in bytes or text, refused values and refused devices all come through, MIG slices too."""
    install(library, "pynvml", FAKE_NVML)
    found = probe_nvidia(library.host, deadline=20)
    assert found.state == "ok"
    assert [device.id for device in found.devices] == ["cuda:0", "cuda:1", "cuda:1:mig:0", "cuda:2"]
    first, second, piece, third = found.devices
    assert (first.name, first.memory_total, first.memory_free) == ("NVIDIA Fake", 24 * 2**30, 20 * 2**30)
    assert (first.driver, first.compute_capability, first.uuid) == ("570.1", "8.9", "GPU-0")
    assert second.memory_total is None
    assert piece.memory_total == 24 * 2**30
    assert third.notes == ("the driver refuses access: Insufficient Permissions",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import time; time.sleep(60)", "did not answer"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        (
            "class NVMLError(Exception): pass\ndef nvmlInit(): raise NVMLError('Driver Not Loaded')",
            "Driver Not Loaded",
        ),
        ("raise ImportError('libfoo is missing')", "libfoo is missing"),
        ("something = 1", "AttributeError"),
        ("import os; os._exit(0)", "an unreadable answer"),
    ],
)
def test_a_broken_nvml_is_contained(
    library: Machine, in_time: Callable[..., Any], text: str, says: str
) -> None:
    """A library that hangs, crashes, refuses or is another one gives its cause, and nvidia-smi is asked."""
    install(library, "pynvml", text)
    deadline = 1.5 if "sleep" in text else 20
    found = in_time(5, lambda: probe_nvidia(library.host, deadline=deadline))
    assert found.state == "failed"
    assert says in found.detail
    assert "nvidia-smi is not on PATH" in found.detail


def test_nvidia_smi_helps_out(library: Machine) -> None:
    """When NVML hangs there is time left for nvidia-smi, and the cause is still reported."""
    install(library, "pynvml", "import time; time.sleep(60)")
    library.printer("nvidia-smi", "nvidia/one_h200.csv")
    found = probe_nvidia(library.host, deadline=6)
    assert (found.state, len(found.devices)) == ("ok", 1)
    assert "NVML: " in found.detail
    assert "did not answer" in found.detail


def test_amdsmi_values_come_through(library: Machine) -> None:
    """A value AMD SMI fails to give is None and the device stays."""
    install(library, "amdsmi", FAKE_AMDSMI)
    found = probe_amd(library.host, deadline=20)
    assert [(device.id, device.memory_total, device.memory_free) for device in found.devices] == [
        ("rocm:0", 100, 70),
        ("rocm:1", 100, None),
    ]
    assert found.devices[0].name == "AMD Instinct MI300X"


def test_the_script_needs_no_modelplug(tmp_path: Path) -> None:
    """The child answers without modelplug being importable, and its neighbours do not shadow modules."""
    (tmp_path / "pynvml.py").write_text("raise ImportError('wrong pynvml')")
    code = subprocess.run(
        [sys.executable, str(SCRIPT), "amd"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answer = json.loads(code.stdout.strip().rpartition("\n")[2])
    assert "amdsmi" in answer["error"]
