"""Synthetic models, machines, engines and runtimes, so that choosing can be tested on any machine."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import importlib_metadata
import pytest
from attrs import validators

from modelplug.backends.select import BackendSelector
from modelplug.backends.types import BackendReport, BackendSettings, BackendState
from modelplug.config import ConfigManager
from modelplug.formats.model_info import LayerSizes, ModelInfo
from modelplug.history import RunRecord
from modelplug.hookspecs import ENTRY_POINT_GROUP, HOOKSPEC_VERSION, hookimpl
from modelplug.paths import Paths
from modelplug.plugins import PluginManager
from modelplug.plugins.records import HookResult
from modelplug.runtime import Runtime
from modelplug.system.info import CpuInfo, Device, MemoryInfo, SystemInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modelplug.backends.types import Candidate, Recommendation

MIB = 1 << 20
GIB = 1 << 30
NOWHERE = Paths(
    config=Path("/nowhere/config"),
    data=Path("/nowhere/data"),
    cache=Path("/nowhere/cache"),
    logs=Path("/nowhere/logs"),
)


def a_model(
    *,
    layers: int = 32,
    layer_bytes: int = 120 * MIB,
    context_length: int | None = 4096,
    parameters: int = 7_000_000_000,
    **changes: Any,
) -> ModelInfo:
    """A model about as large as a 7B one in four bits, unless told otherwise."""
    fields: dict[str, Any] = {
        "path": Path("/models/seven.gguf"),
        "format": "gguf",
        "architecture": "llama",
        "parameters": parameters,
        "quantization": "Q4_K",
        "tensor_types": {"Q4_K": layers * layer_bytes, "F32": MIB},
        "context_length": context_length,
        "layers": layers,
        "embedding_length": 4096,
        "heads": 32,
        "heads_kv": (8,) * layers,
        "key_length": 128,
        "value_length": 128,
        "vocabulary_size": 32_000,
        "weights": LayerSizes(
            layers=(layer_bytes,) * layers, output=100 * MIB, token_embedding=100 * MIB, other=0
        ),
        "fingerprint": "f" * 64,
    }
    fields.update(changes)
    weights: LayerSizes = fields["weights"]
    fields.setdefault("size", weights.total)
    return ModelInfo(**fields)


def a_device(
    number: int = 0, *, total: int | None = 8 * GIB, free: int | None = 7 * GIB, **changes: Any
) -> Device:
    """An NVIDIA card."""
    fields: dict[str, Any] = {
        "id": f"cuda:{number}",
        "api": "cuda",
        "index": number,
        "name": f"Card {number}",
        "vendor": "nvidia",
        "memory_total": total,
        "memory_free": free,
    }
    return Device(**{**fields, **changes})


def a_system(
    *devices: Device,
    available: int = 16 * GIB,
    bandwidth: float | None = 20e9,
    physical: int | None = 4,
    usable: int = 8,
) -> SystemInfo:
    """A desktop machine."""
    return SystemInfo(
        os="linux",
        os_version="Linux",
        python="3.11.7",
        cpu=CpuInfo(
            model="CPU",
            architecture="x86_64",
            physical_cores=physical,
            logical_cores=8,
            usable_cores=usable,
        ),
        memory=MemoryInfo(total=32 * GIB, available=available, bandwidth=bandwidth),
        devices=devices,
    )


def a_report(name: str = "engine", state: str = "cpu", **changes: Any) -> BackendReport:
    """A healthy engine for GGUF; on the GPU it can use the first two cards."""
    fields: dict[str, Any] = {
        "name": name,
        "state": BackendState(state),
        "engine": f"{name} engine",
        "version": "1.0",
        "formats": ("gguf",),
        "install": f"pip install {name}",
        "plugin": name,
        "distribution": f"{name}-plugin 1.0",
    }
    if state == "gpu":
        fields.update(devices=("cuda:0", "cuda:1"), gpu_offload="layers")
    return BackendReport(**{**fields, **changes})


@attrs.define
class StubPlugins:
    """Answers the one hook that choosing asks, and keeps what is reported."""

    kinds: dict[str, type[BackendSettings]]
    problems: list[tuple[str, str, str]] = attrs.field(factory=list)
    records: tuple[Any, ...] = ()

    def call(self, hook: str, **arguments: Any) -> list[HookResult]:
        """Give each backend's settings class as if its plugin had its name."""
        assert hook == "modelplug_backend_settings"
        return [HookResult(name, {name: kind}) for name, kind in self.kinds.items()]

    def report_problem(self, plugin: str, cause: str, remedy: str = "") -> None:
        """Keep the problem."""
        self.problems.append((plugin, cause, remedy))


@attrs.define
class StubBackends:
    """Gives reports made by the test."""

    made: dict[str, BackendReport]

    def reports(self, *, deep: bool = False) -> dict[str, BackendReport]:
        """The reports."""
        return dict(self.made)

    def informed_reports(self, names: Any = None) -> dict[str, BackendReport]:
        """The reports: there is nothing deeper to learn."""
        return dict(self.made)


@attrs.define
class StubHistory:
    """Gives speeds by (backend, device, layers)."""

    known: dict[tuple[str, str, int], list[float]]

    def measurements(
        self, backend: str, device: str, *, fingerprint: str | None = None, each: int = 50
    ) -> list[RunRecord]:
        """Runs of the usual model at the speeds made by the test."""
        return [
            RunRecord(
                fingerprint=fingerprint or "f" * 64,
                backend=backend,
                device=device,
                gpu_layers=layers,
                completion_tokens=100,
                generate_seconds=100 / speed,
            )
            for (engine, place, layers), speeds in self.known.items()
            if (engine, place) == (backend, device)
            for speed in speeds
        ]


def a_runtime(
    *reports: BackendReport,
    system: SystemInfo | None = None,
    settings: Mapping[str, Any] | None = None,
    speeds: dict[tuple[str, str, int], list[float]] | None = None,
    kinds: dict[str, type[BackendSettings]] | None = None,
) -> Any:
    """A runtime whose engines, machine, settings and history the test decides."""
    return types.SimpleNamespace(
        backends=StubBackends({report.name: report for report in reports}),
        plugins=StubPlugins(kinds or {}),
        config=ConfigManager(NOWHERE, environ={}, overrides=settings),
        history=StubHistory(speeds or {}),
        system=system or a_system(),
        paths=NOWHERE,
    )


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """A backend's own settings."""

    use_mmap: bool = True
    kv_type: str = "f16"
    rope: float = attrs.field(default=1.0, validator=validators.gt(0))


def choose(*reports: Any, model: Any = None, wishes: Any = None, **environment: Any) -> Recommendation:
    """The recommendation for a model on a machine with these engines."""
    selector = BackendSelector(a_runtime(*reports, **environment))
    return selector.get_recommendation(model or a_model(), **(wishes or {}))


def verdicts(recommendation: Recommendation) -> dict[str, Candidate]:
    """The candidates by name."""
    return {candidate.backend: candidate for candidate in recommendation.candidates}


@pytest.fixture(scope="session")
def kit() -> Any:
    """Everything above under short names; usable in property tests, because it has no state."""
    return types.SimpleNamespace(
        model=a_model,
        device=a_device,
        system=a_system,
        report=a_report,
        runtime=a_runtime,
        choose=choose,
        verdicts=verdicts,
        EngineSettings=EngineSettings,
        MIB=MIB,
        GIB=GIB,
    )


class _Distribution(importlib_metadata.Distribution):
    """A distribution that is installed nowhere."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename in ("METADATA", "PKG-INFO") else None

    def locate_file(self, path: Any) -> Any:
        return Path("/nowhere") / path


@pytest.fixture
def plugin(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes an entry point of a plugin that lives in this process and answers with given reports."""

    def make(name: str, answer: Any, *, distribution: str | None = None, version: str = "1.0") -> Any:
        module = types.ModuleType(f"in_process_plugin_{name.replace('-', '_')}")
        module.MODELPLUG_HOOKSPEC_VERSION = HOOKSPEC_VERSION  # type: ignore[attr-defined]

        @hookimpl
        def modelplug_detect_backends(system: SystemInfo) -> Any:
            return answer(system) if callable(answer) else answer

        module.modelplug_detect_backends = modelplug_detect_backends  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        request.addfinalizer(lambda: sys.modules.pop(module.__name__, None))
        entry = importlib_metadata.EntryPoint(name, module.__name__, ENTRY_POINT_GROUP)
        return entry._for(  # type: ignore[no-untyped-call]
            _Distribution(distribution or f"{name}-plugin", version)
        )

    return make


@pytest.fixture
def runtime_of(tmp_path: Path) -> Callable[..., Runtime]:
    """Makes a real runtime in a directory of its own, with given entry points and machine."""

    def make(
        entry_points: Sequence[Any] = (), *, system: SystemInfo | None = None, **options: Any
    ) -> Runtime:
        environ = {"MODELPLUG_HOME": str(tmp_path / "home")}
        runtime = Runtime(environ=environ)
        runtime.plugins = PluginManager(
            paths=runtime.paths, environ=environ, entry_points=entry_points, **options
        )
        runtime.system = system or a_system()
        return runtime

    return make
