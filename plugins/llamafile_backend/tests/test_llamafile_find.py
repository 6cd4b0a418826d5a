"""Finding a llamafile program, and saying what there is of it on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs
import pytest

import modelplug_llamafile
from modelplug.backends.types import BackendState, LoadRequest
from modelplug.system.info import CpuInfo, Device, MemoryInfo, SystemInfo
from modelplug_llamafile.abilities import probe_abilities
from modelplug_llamafile.detection import detect, probe
from modelplug_llamafile.find import command_of, examine, find_program
from modelplug_llamafile.settings import LlamafileSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo

GPU = Device(id="cuda:1", api="cuda", index=1, name="Some GPU", vendor="nvidia")


def system(*devices: Device) -> SystemInfo:
    """A machine with these devices."""
    return SystemInfo(
        os="linux",
        os_version="Linux",
        python="3.11",
        cpu=CpuInfo(model="CPU", architecture="x86_64", physical_cores=2, logical_cores=2, usable_cores=2),
        memory=MemoryInfo(total=1 << 34, available=1 << 33),
        devices=devices,
    )


def program_at(path: Path, mode: int = 0o755) -> Path:
    """A file that could be a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def environment(tmp_path: Path, *path: Path) -> dict[str, str]:
    """An environment with a home of its own and these directories on PATH."""
    return {"HOME": str(tmp_path / "home"), "PATH": os.pathsep.join(map(str, path)), "MODELPLUG_HOME": "x"}


# Finding ------------------------------------------------------------------------------------------------


def test_the_configured_program_is_the_only_one_considered(tmp_path: Path) -> None:
    """A program named in the settings is used, or what is wrong with it is reported."""
    here = program_at(tmp_path / "bin" / "llamafile")
    environ = environment(tmp_path, tmp_path / "bin")
    mine = program_at(tmp_path / "mine")
    found = find_program(str(mine), environ, tmp_path)
    assert found is not None
    assert (found.path, found.problem) == (mine, "")
    missing = find_program(str(tmp_path / "absent"), environ, tmp_path)
    assert missing is not None
    assert "no file" in missing.problem
    by_name = find_program("llamafile", environ, tmp_path)
    assert by_name is not None
    assert by_name.path == here


def test_exact_names_on_path_come_before_versions_and_higher_versions_before_lower(tmp_path: Path) -> None:
    """On PATH `llamafile` wins, then the highest version, as numbers; sister programs never do."""
    names = ("llamafile-0.9.3", "llamafile-0.10.1", "llamafile-0.9.12", "llamafile-bench", "llamafiler")
    for name in names:
        program_at(tmp_path / "bin" / name)
    environ = environment(tmp_path, tmp_path / "nowhere", tmp_path / "bin")
    found = find_program(None, environ, tmp_path / "cwd")
    assert found is not None
    assert (found.path.name, found.version) == ("llamafile-0.10.1", "0.10.1")
    exact = program_at(tmp_path / "bin" / "llamafile")
    found = find_program(None, environ, tmp_path / "cwd")
    assert found is not None
    assert found.path == exact


@pytest.mark.parametrize(
    "place",
    ["home/.local/bin/llamafile", "home/bin/llamafile-0.9.3", "home/llamafile", "cwd/executables/llamafile"],
)
def test_the_usual_places_are_searched(tmp_path: Path, place: str) -> None:
    """Without anything on PATH, the places where people put it are searched."""
    path = program_at(tmp_path / place)
    found = find_program(None, environment(tmp_path), tmp_path / "cwd")
    assert found is not None
    assert (found.path, found.problem) == (path, "")


def test_a_program_in_the_current_directory_must_be_our_own(tmp_path: Path) -> None:
    """What somebody else could have put into the current directory is never run."""
    program_at(tmp_path / "cwd" / "llamafile", 0o777)
    assert find_program(None, environment(tmp_path), tmp_path / "cwd") is None


def test_a_program_that_may_not_be_executed_is_reported_with_the_remedy(tmp_path: Path) -> None:
    """A file without the executable bit is a problem with a command that solves it."""
    path = program_at(tmp_path / "bin" / "llamafile", 0o644)
    found = find_program(None, environment(tmp_path, tmp_path / "bin"), tmp_path)
    assert found is not None
    assert "executable" in found.problem
    assert found.remedy == f"chmod +x '{path}'"


def test_nothing_found_is_none(tmp_path: Path) -> None:
    """On a machine without llamafile there is nothing to be found."""
    assert find_program(None, environment(tmp_path), tmp_path) is None


@pytest.mark.parametrize("magic", [b"MZqFpD='\n", b"jartsr='\n"])
def test_portable_executables_go_through_the_shell(tmp_path: Path, magic: bytes) -> None:
    """Only files in the portable format are handed to the shell."""
    portable = tmp_path / "portable"
    portable.write_bytes(magic + bytes(64))
    assert command_of(portable) == ["/bin/sh", str(portable)]
    assert command_of(program_at(tmp_path / "plain")) == [str(tmp_path / "plain")]
    assert examine(tmp_path / "absent").problem


# Detecting ----------------------------------------------------------------------------------------------


def test_detection_tells_absent_broken_cpu_and_gpu_apart(tmp_path: Path) -> None:
    """The report's state follows from the program and the devices; nothing is run for it."""
    environ = {**environment(tmp_path, tmp_path / "bin"), "MODELPLUG_HOME": str(tmp_path / "home")}
    absent = detect(system(), environ, tmp_path / "cwd")
    assert absent.state is BackendState.NOT_INSTALLED
    assert "llamafile" in absent.install
    assert absent.standalone_formats == ("llamafile",)
    path = program_at(tmp_path / "bin" / "llamafile-0.9.3", 0o644)
    broken = detect(system(), environ, tmp_path / "cwd")
    assert broken.state is BackendState.BROKEN
    assert broken.install.startswith("chmod +x")
    path.chmod(0o755)
    cpu = detect(system(), environ, tmp_path / "cwd")
    assert (cpu.state, cpu.version, cpu.devices) == (BackendState.CPU, "0.9.3", ())
    gpu = detect(system(GPU, attrs.evolve(GPU, id="cuda:0", visible=False)), environ, tmp_path / "cwd")
    assert (gpu.state, gpu.devices) == (BackendState.GPU, ("cuda:1",))
    assert set(attrs.fields_dict(LlamafileSettings)) == set(gpu.settings)


def test_the_version_is_what_the_program_said_when_it_was_asked(
    fake: Callable[..., Path], tmp_path: Path
) -> None:
    """Before a program is first asked, its version is unknown; afterwards it is remembered."""
    program = fake("modern")
    environ = {**environment(tmp_path, program.parent), "MODELPLUG_HOME": str(tmp_path / "home")}
    assert detect(system(), environ, tmp_path / "cwd").version == "unknown"
    probe_abilities(program, tmp_path / "home" / "cache")
    assert detect(system(), environ, tmp_path / "cwd").version == "0.10.4"


def test_the_deep_probe_asks_the_program(
    fake: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gives the version, or says why the program can't be used."""
    monkeypatch.setenv("PATH", f"{fake('v1').parent}{os.pathsep}{os.environ['PATH']}")
    assert probe() == {"version": "0.9.3"}
    broken = program_at(tmp_path / "bin" / "llamafile")
    monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    found = probe()
    assert found["state"] == "broken"
    assert "--help" in found["cause"]


def test_a_llamafile_can_be_loaded_where_no_program_is_installed(tmp_path: Path, info: ModelInfo) -> None:
    """A model that brings its engine along is compatible; a plain GGUF file is not."""
    from modelplug.backends.compatibility import incompatibility

    report = detect(system(), {**environment(tmp_path), "MODELPLUG_HOME": str(tmp_path)}, tmp_path / "cwd")
    assert "not installed" in incompatibility(report, info)
    assert incompatibility(report, attrs.evolve(info, format="llamafile")) == ""


def test_another_backends_request_is_left_alone(request_for: Callable[..., LoadRequest]) -> None:
    """The hook answers only for its own name."""
    request = attrs.evolve(request_for(), backend="llamacpp")
    assert modelplug_llamafile.modelplug_load_model(request) is None


def test_importing_the_plugin_loads_neither_http_nor_psutil() -> None:
    """The module that the host imports is light."""
    import subprocess
    import sys

    code = (
        "import sys, modelplug_llamafile\n"
        "loaded = {'psutil', 'http.client', 'subprocess', 'modelplug_llamafile.loading'} & set(sys.modules)\n"
        "sys.exit(', '.join(loaded) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
