"""How usable ctransformers is here, told from installed files alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.types import BackendReport, BackendState
from modelplug_ctransformers.limits import FORMATS, REJECTS, STATED_ARCHITECTURES, TENSOR_TYPES
from modelplug_ctransformers.settings import MAX_BATCH, CtransformersSettings

if TYPE_CHECKING:
    from modelplug.system.info import SystemInfo

__all__ = ["library_directory", "pick_library", "report"]

_LIBRARY_NAMES = {"linux": "libctransformers.so", "darwin": "libctransformers.dylib"}


def library_directory() -> Path | None:
    """Find the engine's compiled libraries without importing it; None if it is not installed."""
    spec = importlib.util.find_spec("ctransformers")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "lib"


def _library(directory: Path, build: str) -> Path:
    return directory / build / _LIBRARY_NAMES.get(sys.platform, "ctransformers.dll")


def pick_library(directory: Path, instruction_sets: frozenset[str]) -> str | None:
    """Choose the build of the engine for this processor.

    Args:
        directory: As `library_directory` gives it.
        instruction_sets: Lower-case names; empty where they are unknown.

    Returns:
        `local` (compiled here), `avx2`, `avx`, `basic`, or None if none of them runs here.
    """
    if _library(directory, "local").is_file():
        return "local"
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        # The wheel's builds are for x86-64, except that on macOS `basic` holds both.
        return "basic" if sys.platform == "darwin" and _library(directory, "basic").is_file() else None
    wanted: tuple[str, ...]
    if "avx2" in instruction_sets and {"fma", "f16c"} <= instruction_sets:
        wanted = ("avx2", "avx", "basic")
    elif {"avx", "f16c"} <= instruction_sets:
        wanted = ("avx", "basic")
    else:
        wanted = ("basic",)
    return next((build for build in wanted if _library(directory, build).is_file()), None)


def report(system: SystemInfo) -> BackendReport:
    """Say how usable the engine is on this machine.

    Args:
        system: The machine.
    """
    fields = {field.name for field in attrs.fields(CtransformersSettings)}
    state, cause, devices = _state(system)
    installed = state is not BackendState.NOT_INSTALLED
    return BackendReport(
        name="ctransformers",
        state=state,
        engine="ctransformers",
        version=importlib.metadata.version("ctransformers") if installed else "",
        cause=cause,
        install=_install_advice(system),
        formats=FORMATS,
        architectures=STATED_ARCHITECTURES,
        tensor_types=TENSOR_TYPES,
        rejects=REJECTS,
        devices=devices,
        gpu_offload="layers" if devices else "none",
        default_batch_size=MAX_BATCH,
        settings=tuple(sorted(fields)),
        capabilities=frozenset({"embeddings", "logprobs"}),
        deep_probe="modelplug_ctransformers.probe:probe" if installed else "",
        priority=40,
    )


def _state(system: SystemInfo) -> tuple[BackendState, str, tuple[str, ...]]:
    directory = library_directory()
    if directory is None:
        return BackendState.NOT_INSTALLED, "the package ctransformers is not installed", ()
    version = importlib.metadata.version("ctransformers")
    if version != "0.2.27":
        cause = f"this plugin is written for ctransformers 0.2.27, and {version} is installed"
        return BackendState.BROKEN, cause, ()
    if pick_library(directory, system.cpu.instruction_sets) is None:
        cause = f"ctransformers brings no compiled library for {system.os} on {system.cpu.architecture}"
        return BackendState.BROKEN, cause, ()
    return _accelerator(system, directory)


def _accelerator(system: SystemInfo, directory: Path) -> tuple[BackendState, str, tuple[str, ...]]:
    devices = system.visible_devices
    nvidia = [device.id for device in devices if device.api == "cuda"]
    if _library(directory, "local").is_file() and devices:
        return BackendState.GPU, "", tuple(device.id for device in devices[:1])
    if not nvidia:
        other = next((device for device in devices), None)
        cause = f"its wheel has no build for {other.api}, so {other.name} is not used" if other else ""
        return BackendState.CPU, cause, ()
    if not _library(directory, "cuda").is_file():
        return BackendState.CPU, "the installed ctransformers has no CUDA build", ()
    if not _has_cuda_12():
        return BackendState.CPU, "its CUDA build needs the CUDA 12 runtime and cuBLAS, which are missing", ()
    # The engine has no choice of device: it computes on the first one.
    return BackendState.GPU, "", tuple(nvidia[:1])


def _has_cuda_12() -> bool:
    """Whether the two libraries that the CUDA build links against are there."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if all((Path(folder) / name).is_dir() for name in ("cuda_runtime", "cublas")):
            return True
    places = ("/usr/local/cuda/lib64", "/usr/local/cuda-12/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")
    needed = ("libcudart.so.12", "libcublas.so.12")
    return any(all((Path(place) / name).exists() for name in needed) for place in places)


def _install_advice(system: SystemInfo) -> str:
    apis = {device.api for device in system.visible_devices}
    pip = f"{sys.executable} -m pip install"
    if "cuda" in apis:
        return f"{pip} 'ctransformers[cuda]==0.2.27'"
    for api, flag in (("rocm", "CT_HIPBLAS"), ("metal", "CT_METAL")):
        if api in apis:
            # There is no extra for these; pip would warn and install the plain wheel.
            return f"{flag}=1 {pip} ctransformers==0.2.27 --no-binary ctransformers"
    return f"{pip} ctransformers==0.2.27"
