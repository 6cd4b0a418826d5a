"""A backend that keeps the contract, unless it is told to break one clause of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest

MODELPLUG_HOOKSPEC_VERSION = "1.0"
NAME = "faulty"
# Faults of the engine itself come as a setting; these are of the plugin, before any setting is read.
PLUGIN_FAULT = os.environ.get("FAULTY_PLUGIN", "")

if PLUGIN_FAULT == "heavy_import":
    import ctranslate2  # noqa: F401
if PLUGIN_FAULT == "import_starts_process":
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", ""], check=True)
if PLUGIN_FAULT == "version_is_a_number":
    MODELPLUG_HOOKSPEC_VERSION = 1.0  # type: ignore[assignment]


@hookimpl
def modelplug_detect_backends() -> BackendReport:
    """Report the backend."""
    from modelplug.backends.types import BackendReport, BackendState

    if PLUGIN_FAULT == "detection_imports_engine":
        import faulty_engine_library  # noqa: F401
    if PLUGIN_FAULT == "detection_starts_process":
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", ""], check=True)
    absent = PLUGIN_FAULT == "absent_without_advice"
    settings = (
        "enabled",
        "context_size",
        "fault",
        *(("wisdom",) if PLUGIN_FAULT == "unknown_setting" else ()),
    )
    cpu_only = "it computes on one thread of the CPU: leave it out"
    ignored = dict.fromkeys(("gpu_enabled", "gpu_layers", "batch_size", "threads"), cpu_only)
    if PLUGIN_FAULT == "silent_setting":
        del ignored["batch_size"]
    capabilities = {"chat", "embeddings", "logprobs"}
    if PLUGIN_FAULT == "unannounced_capability":
        capabilities.remove("chat")
    return BackendReport(
        name=NAME,
        state=BackendState.NOT_INSTALLED if absent else BackendState.CPU,
        engine="" if PLUGIN_FAULT == "nameless_engine" else "Faulty engine",
        version="" if absent else "2.5",
        cause="it was never built" if absent else "",
        formats=("gguf",),
        architectures=frozenset({"llama"}) if PLUGIN_FAULT != "loads_anything" else None,
        settings=settings,
        ignored_settings=ignored,
        capabilities=frozenset(capabilities),
        deep_probe="modelplug_faulty.engine:probe" if PLUGIN_FAULT != "probe_missing" else "nowhere:probe",
    )


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the settings."""
    from modelplug_faulty.settings import FaultySettings, UndocumentedSettings

    return {NAME: UndocumentedSettings if PLUGIN_FAULT == "undocumented_setting" else FaultySettings}


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load if meant."""
    if request.backend != NAME:
        return None
    from modelplug_faulty.engine import FaultyModel

    return FaultyModel(request)
