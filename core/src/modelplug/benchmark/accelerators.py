"""Watches accelerators: how busy they are, and how much of their memory and power is used."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from modelplug.system import Host
    from modelplug.system.info import Device

__all__ = ["AcceleratorWatch", "Reading"]

PERIOD_SECONDS = 0.2
_MIB = 2**20
_QUERY = "index,utilization.gpu,memory.used,power.draw"
_SMI_PLACES = ("/usr/lib/wsl/lib/nvidia-smi", "/usr/bin/nvidia-smi")


@attrs.frozen(kw_only=True)
class Reading:
    """What a device said at one moment.

    Attributes:
        at: By `time.monotonic`.
        device: Its id, for example `cuda:0`.
        utilization: Percent; None if it does not say.
        memory_used: Bytes; None likewise.
        watts: None likewise.
    """

    at: float
    device: str
    utilization: float | None
    memory_used: int | None
    watts: float | None


class AcceleratorWatch:
    """Keeps what the accelerators say, several times a second, until it is closed.

    NVIDIA's devices are read through one `nvidia-smi` that repeats itself, AMD's through the kernel's files.
    Others say nothing that can be read without rights of root.

    Args:
        devices: What to watch.
        host: Where to look.
    """

    def __init__(self, devices: Sequence[Device], host: Host) -> None:
        self._readings: list[Reading] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._process: subprocess.Popen[str] | None = None
        apis = {device.api for device in devices}
        tool = host.which("nvidia-smi", *_SMI_PLACES) if "cuda" in apis else None
        if tool is not None:
            self._start_nvidia(tool)
        cards = _amd_cards(host) if "rocm" in apis else []
        if cards:
            self._start_thread(lambda: self._watch_files(cards), "amd")

    def _start_nvidia(self, tool: str) -> None:
        period = str(round(PERIOD_SECONDS * 1000))
        command = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits", "-lms", period]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError:
            # The tool can't be started: then nothing is read, and the figures are left out.
            return
        self._start_thread(self._listen, "nvidia")

    def _start_thread(self, target: object, name: str) -> None:
        thread = threading.Thread(target=target, name=f"accelerators-{name}", daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reading = _nvidia_reading(line)
            if reading is not None:
                self._keep(reading)

    def _watch_files(self, cards: Sequence[Path]) -> None:
        while not self._ended.wait(PERIOD_SECONDS):
            for number, card in enumerate(cards):
                self._keep(_amd_reading(f"rocm:{number}", card))

    def _keep(self, reading: Reading) -> None:
        with self._lock:
            self._readings.append(reading)

    def readings(self, device: str, since: float, until: float) -> list[Reading]:
        """What one device said between two moments of `time.monotonic`."""
        with self._lock:
            return [r for r in self._readings if r.device == device and since <= r.at <= until]

    def memory_used(self, device: str, patience: float = 3.0) -> int | None:
        """Bytes used on a device now; waits for a first reading, and gives None where there is none."""
        began = time.monotonic()
        while self._threads and time.monotonic() < began + patience:
            found = self.readings(device, began, time.monotonic())
            if found:
                return found[-1].memory_used
            time.sleep(PERIOD_SECONDS / 4)
        return None

    def close(self) -> None:
        """Stop watching; calling it again changes nothing."""
        self._ended.set()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5.0)
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        self._threads.clear()


def _nvidia_reading(line: str) -> Reading | None:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 4 or not fields[0].isdecimal():
        return None
    utilization, memory, watts = (_number(field) for field in fields[1:])
    return Reading(
        at=time.monotonic(),
        device=f"cuda:{fields[0]}",
        utilization=utilization,
        memory_used=None if memory is None else round(memory * _MIB),
        watts=watts,
    )


def _number(text: str) -> float | None:
    # A field that the device does not have reads `[N/A]` or `[Not Supported]`.
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def _amd_cards(host: Host) -> list[Path]:
    return [file.parent for file in host.glob("/sys/class/drm", "card*/device/mem_info_vram_used")]


def _amd_reading(device: str, card: Path) -> Reading:
    values: Iterator[float | None] = (
        _number(_text(card / name)) for name in ("gpu_busy_percent", "mem_info_vram_used")
    )
    utilization, memory = values
    microwatts = next(
        (_number(_text(file)) for file in sorted(card.glob("hwmon/hwmon*/power1_average"))), None
    )
    return Reading(
        at=time.monotonic(),
        device=device,
        utilization=utilization,
        memory_used=None if memory is None else int(memory),
        watts=None if microwatts is None else microwatts / 1e6,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
