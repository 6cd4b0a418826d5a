"""What can be said of llamafile on this machine without running it, and what running it adds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.types import BackendReport, BackendState
from modelplug.paths import Paths
from modelplug_llamafile.find import find_program
from modelplug_llamafile.settings import LlamafileSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.system.info import SystemInfo
    from modelplug_llamafile.find import Program

__all__ = ["configured_executable", "detect", "probe"]

NAME = "llamafile"
_GPU_APIS = ("cuda", "rocm", "metal")


def detect(system: SystemInfo, environ: Mapping[str, str], directory: Path) -> BackendReport:
    """The report on llamafile: is there a program, and could it use a GPU.

    Args:
        system: This machine.
        environ: The environment.
        directory: The current directory.
    """
    program = find_program(configured_executable(environ), environ, directory)
    devices = tuple(d.id for d in system.visible_devices if d.api in _GPU_APIS)
    report = BackendReport(
        name=NAME,
        state=BackendState.GPU if devices else BackendState.CPU,
        engine="llamafile",
        version=_version(program, environ) if program and not program.problem else "",
        cause="" if devices else "no NVIDIA, AMD or Apple GPU was found",
        install=_install_advice(system),
        formats=("gguf", "llamafile"),
        standalone_formats=("llamafile",),
        rejects=(
            ("byte_order", "big", "llamafile reads little-endian files only"),
            ("kind", "adapter", "an adapter is no model by itself: load the base model"),
            ("kind", "projector", "a projector is no model by itself: load the language model"),
            ("kind", "vocabulary", "the file holds a vocabulary and no weights"),
        ),
        devices=devices,
        gpu_offload="layers",
        default_batch_size=512,
        settings=tuple(field.name for field in attrs.fields(LlamafileSettings)),
        capabilities=frozenset({"chat", "embeddings", "grammar", "logprobs"}),
        deep_probe="modelplug_llamafile.detection:probe",
        priority=10,
    )
    if program is None:
        return attrs.evolve(
            report,
            state=BackendState.NOT_INSTALLED,
            cause="no llamafile program was found; a model that is a llamafile itself runs without one",
            deep_probe="",
        )
    if program.problem:
        return attrs.evolve(
            report, state=BackendState.BROKEN, cause=program.problem, install=program.remedy, deep_probe=""
        )
    return report


def _version(program: Program, environ: Mapping[str, str]) -> str:
    """As the program said when it was last asked, else as its name says."""
    from modelplug_llamafile.abilities import recall_abilities

    known = recall_abilities(program.path, Paths.from_environment(environ).cache)
    return (known.version if known else "") or program.version or "unknown"


def configured_executable(environ: Mapping[str, str]) -> str | None:
    """The setting `backends.llamafile.executable`, or None."""
    from modelplug.config import ConfigManager

    backends: Any = ConfigManager(paths=Paths.from_environment(environ), environ=environ).effective.get(
        "backends"
    )
    section = backends.get(NAME) if isinstance(backends, dict) else None
    value = section.get("executable") if isinstance(section, dict) else None
    return value if isinstance(value, str) and value else None


def probe() -> dict[str, Any]:
    """What the program says of itself; runs it, in a child process of the core."""
    from modelplug.errors import BackendError
    from modelplug_llamafile.abilities import probe_abilities

    program: Program | None = find_program(configured_executable(os.environ), os.environ, Path.cwd())
    if program is None or program.problem:
        return {}
    try:
        abilities = probe_abilities(program.path, Paths.from_environment().cache)
    except BackendError as error:
        return {"state": "broken", "cause": str(error), "install": error.advice}
    return {"version": abilities.version or program.version or "unknown"}


def _install_advice(system: SystemInfo) -> str:
    name = "llamafile.exe" if system.os == "windows" else "llamafile"
    place = r"%LOCALAPPDATA%\llamafile" if system.os == "windows" else "~/.local/bin"
    lines = [
        (
            "Download the llamafile program (a file named llamafile-VERSION) from its project's releases "
            f"and save it as {name} in {place}"
        ),
    ]
    if system.os != "windows":
        lines.append(f"chmod +x {place}/{name}")
    lines.append("or name it: modelplug config set backends.llamafile.executable PATH")
    return "\n".join(lines)
