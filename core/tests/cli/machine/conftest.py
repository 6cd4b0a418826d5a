"""Runs verbs in this process, with engines and a machine that the test makes up."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import attrs
import importlib_metadata
import pytest
from click.testing import CliRunner

from modelplug.backends.types import BackendReport, BackendState
from modelplug.cli.context import App
from modelplug.hookspecs import ENTRY_POINT_GROUP, HOOKSPEC_VERSION, hookimpl
from modelplug.plugins import PluginManager
from modelplug.runtime import Runtime
from modelplug.system.info import CpuInfo, Device, MemoryInfo, ProbeOutcome, SystemInfo

GIB = 1 << 30


def a_system(
    *devices: Device, available: int = 16 * GIB, probes: tuple[ProbeOutcome, ...] = ()
) -> SystemInfo:
    """A desktop machine."""
    cpu = CpuInfo(model="CPU", architecture="x86_64", physical_cores=4, logical_cores=8, usable_cores=8)
    return SystemInfo(
        os="linux",
        os_version="Linux",
        python="3.11.7",
        cpu=cpu,
        memory=MemoryInfo(total=32 * GIB, available=available, bandwidth=20e9),
        devices=devices,
        probes=probes,
    )


def a_device(number: int = 0, **changes: Any) -> Device:
    """An NVIDIA card with 8 GiB."""
    fields: dict[str, Any] = {
        "id": f"cuda:{number}",
        "api": "cuda",
        "index": number,
        "name": f"Card {number}",
        "vendor": "nvidia",
        "memory_total": 8 * GIB,
        "memory_free": 7 * GIB,
    }
    return Device(**{**fields, **changes})


def a_report(name: str, state: str = "cpu", **changes: Any) -> BackendReport:
    """An engine for GGUF."""
    fields: dict[str, Any] = {
        "name": name,
        "state": BackendState(state),
        "engine": f"{name} engine",
        "version": "1.0",
        "formats": ("gguf",),
        "install": f"pip install {name}",
    }
    return BackendReport(**{**fields, **changes})


@attrs.define
class Bench:
    """A command line with made-up engines and a made-up machine.

    Attributes:
        runtime: What the verbs see.
        home: Its directory.
    """

    runtime: Runtime
    home: Path

    def run(self, module: str, *arguments: str, exit_code: int = 0) -> Any:
        """The result of one verb, whose exit status must be as given; errors come out as exceptions."""
        command = __import__(f"modelplug.cli.{module}", fromlist=["command"]).command
        app = App()
        app.__dict__["runtime"] = self.runtime
        result = CliRunner().invoke(command, list(arguments), obj=app, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes benches, machines, devices and reports."""

    def bench(*reports: BackendReport, system: SystemInfo | None = None, **entries: Any) -> Bench:
        machine = system or a_system()
        home = tmp_path / "home"
        environ = {"MODELPLUG_HOME": str(home)}
        runtime = Runtime(environ=environ)
        answers: dict[str, Any] = {"made_up": list(reports), **entries}
        points = [_entry_point(monkeypatch, name, answer) for name, answer in answers.items()]
        runtime.plugins = PluginManager(paths=runtime.paths, environ=environ, entry_points=points)
        runtime.system = machine
        # `doctor` looks at the machine anew.
        monkeypatch.setattr("modelplug.system.probe", lambda **_: machine)
        return Bench(runtime, home)

    return types.SimpleNamespace(bench=bench, report=a_report, system=a_system, device=a_device, GIB=GIB)


def _entry_point(monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> Any:
    module = types.ModuleType(f"in_process_plugin_{name}")
    module.MODELPLUG_HOOKSPEC_VERSION = HOOKSPEC_VERSION  # type: ignore[attr-defined]

    @hookimpl
    def modelplug_detect_backends(system: SystemInfo) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    module.modelplug_detect_backends = modelplug_detect_backends  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return importlib_metadata.EntryPoint(name, module.__name__, ENTRY_POINT_GROUP)
