"""Asks a vendor's library about its devices and prints one line of JSON; runs as a child process.

It imports nothing of modelplug, so that starting it costs an interpreter and the library, and no more.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = dict[str, Any]


def _text(value: Any) -> str:
    # Bytes until nvidia-ml-py 11, str since.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def probe_nvidia() -> Answer:
    """What NVML says about every GPU; a value the driver refuses is None."""
    import pynvml

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except pynvml.NVMLError:
            return None

    def describe(handle: Any, index: int) -> Answer:
        memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        name, uuid = ask(pynvml.nvmlDeviceGetName, handle), ask(pynvml.nvmlDeviceGetUUID, handle)
        return {
            "index": index,
            "name": None if name is None else _text(name),
            "uuid": None if uuid is None else _text(uuid),
            "memory_total": None if memory is None else int(memory.total),
            "memory_free": None if memory is None else int(memory.free),
            "compute_capability": None if capability is None else f"{capability[0]}.{capability[1]}",
        }

    def slices(handle: Any) -> list[Answer]:
        found = []
        for number in range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            piece = ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            if piece is not None:
                found.append(describe(piece, number))
        return found

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"error": _text(error)}
    try:
        driver = ask(pynvml.nvmlSystemGetDriverVersion)
        devices = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            except pynvml.NVMLError as error:
                devices.append({"index": index, "problem": f"the driver refuses access: {_text(error)}"})
                continue
            item = describe(handle, index)
            mode = ask(pynvml.nvmlDeviceGetMigMode, handle)
            item["mig"] = bool(mode) and mode[0] == 1
            item["mig_devices"] = slices(handle) if item["mig"] else []
            devices.append(item)
        return {"driver": None if driver is None else _text(driver), "devices": devices}
    except pynvml.NVMLError as error:
        return {"error": _text(error)}
    finally:
        ask(pynvml.nvmlShutdown)


def probe_amd() -> Answer:
    """What AMD SMI says about every GPU; a value the library refuses is None."""
    import amdsmi

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except amdsmi.AmdSmiException:
            return None

    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException as error:
        return {"error": str(error)}
    try:
        devices = []
        for index, handle in enumerate(amdsmi.amdsmi_get_processor_handles()):
            asic = ask(amdsmi.amdsmi_get_gpu_asic_info, handle) or {}
            driver = ask(amdsmi.amdsmi_get_gpu_driver_info, handle) or {}
            vram = amdsmi.AmdSmiMemoryType.VRAM
            total = ask(amdsmi.amdsmi_get_gpu_memory_total, handle, vram)
            used = ask(amdsmi.amdsmi_get_gpu_memory_usage, handle, vram)
            uuid = ask(amdsmi.amdsmi_get_gpu_device_uuid, handle)
            devices.append(
                {
                    "index": index,
                    "name": asic.get("market_name"),
                    "uuid": uuid,
                    "memory_total": total,
                    "memory_free": None if total is None or used is None else max(0, total - used),
                    "driver": driver.get("driver_version"),
                }
            )
        return {"devices": devices}
    except amdsmi.AmdSmiException as error:
        return {"error": str(error)}
    finally:
        ask(amdsmi.amdsmi_shut_down)


PROBES: dict[str, Callable[[], Answer]] = {"nvidia": probe_nvidia, "amd": probe_amd}


def main(arguments: list[str]) -> int:
    """Prints the answer of the probe named by the first argument. Returns the exit status."""
    try:
        answer = PROBES[arguments[0]]()
    except (ImportError, OSError, AttributeError) as error:
        # The library is there but can't be loaded, or is a different one of the same name.
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    # Python puts the script's directory first, where our own modules would hide others of the same name.
    del sys.path[0]
    sys.exit(main(sys.argv[1:]))
