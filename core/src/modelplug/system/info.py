"""What a machine is: plain records, filled in by the probes of this package."""

from __future__ import annotations

import attrs

__all__ = ["CpuInfo", "Device", "MemoryInfo", "ProbeOutcome", "SystemInfo"]


@attrs.frozen(kw_only=True)
class CpuInfo:
    """The processor, and how much of it this process may use.

    Attributes:
        model: The marketing name.
        architecture: As `platform.machine()` gives it, lower case (`x86_64`, `aarch64`, `arm64`).
        physical_cores: None if unknown.
        logical_cores: Hardware threads of the whole machine.
        usable_cores: Threads worth starting: the least of affinity, cgroup quota and logical cores.
        instruction_sets: Lower-case names (`avx2`, `fma`, `f16c`, `avx512f`, `neon`, ...).
    """

    model: str
    architecture: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: int
    instruction_sets: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class MemoryInfo:
    """Main memory in bytes, with the cgroup limit taken into account.

    Attributes:
        total: What the machine has, or the cgroup limit if lower.
        available: What can be had now without swapping, or what the cgroup leaves, if lower.
        limit: The cgroup limit; None if there is none.
        bandwidth: Measured copy-free read bandwidth in bytes per second; None if never measured.
    """

    total: int
    available: int
    limit: int | None = None
    bandwidth: float | None = None


@attrs.frozen(kw_only=True)
class Device:
    """One accelerator. Its memory is its own: never add up the memory of several.

    Attributes:
        id: Stable and unique within a `SystemInfo`, for example `cuda:0`.
        api: `cuda`, `rocm`, `metal` or `vulkan`.
        index: The number the api's own tools give it.
        name: The marketing name.
        vendor: `nvidia`, `amd`, `apple`, `intel` or `unknown`.
        memory_total: Bytes; None if the driver does not say (a row of `[N/A]`).
        memory_free: Bytes free now; None if unknown.
        driver: Driver version, if known.
        compute_capability: For CUDA, for example `9.0`.
        uuid: As the driver gives it.
        unified_memory: Whether it shares main memory (Apple, integrated GPUs).
        visible: False if an environment variable such as `CUDA_VISIBLE_DEVICES` hides it.
        notes: What a reader should know about these numbers, for example that one is an estimate.
    """

    id: str
    api: str
    index: int
    name: str
    vendor: str
    memory_total: int | None = None
    memory_free: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    uuid: str | None = None
    unified_memory: bool = False
    visible: bool = True
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ProbeOutcome:
    """How one probe went, so that nothing fails in silence.

    Attributes:
        name: For example `nvidia`.
        state: `ok`, `absent` (the tool or driver is not there) or `failed`.
        detail: What was found, or why it failed.
        seconds: How long it took.
    """

    name: str
    state: str
    detail: str = ""
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class SystemInfo:
    """The machine at one moment.

    Attributes:
        os: `linux`, `darwin` or `windows`.
        os_version: A line for people.
        python: The running interpreter's version, for example `3.11.7`.
        cpu: The processor.
        memory: Main memory.
        devices: Every accelerator found, hidden ones included.
        probes: One outcome per probe that ran.
    """

    os: str
    os_version: str
    python: str
    cpu: CpuInfo
    memory: MemoryInfo
    devices: tuple[Device, ...] = ()
    probes: tuple[ProbeOutcome, ...] = ()

    @property
    def visible_devices(self) -> tuple[Device, ...]:
        """The accelerators that an engine started now could use."""
        return tuple(device for device in self.devices if device.visible)
