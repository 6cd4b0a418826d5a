"""Clauses on the plugin's module: it is found, says what it was written for, and is light."""

from __future__ import annotations

import re
from typing import Any

from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.watching import run_child

__all__ = ["HEAVY_MODULES", "ImportClauses"]

HEAVY_MODULES = frozenset(
    {
        *("torch", "numpy", "scipy", "pandas", "tensorflow", "jax", "onnxruntime", "mlx", "vllm"),
        *("transformers", "tokenizers", "sentencepiece", "safetensors", "accelerate", "gguf"),
        *("llama_cpp", "xllamacpp", "ctransformers", "exllamav2", "ctranslate2"),
    }
)
"""Top-level modules that take long to import or bring native code."""


class ImportClauses(ConformanceBase):
    """Importing the plugin, and detection, in a fresh interpreter."""

    def observed(self) -> dict[str, Any]:
        """What importing the plugin and detecting its backends does; found out once per class."""
        kind = type(self)
        if "_observed" not in vars(kind):
            task = {"module": self.module_name(), "attribute": ""}
            if not self.plugin_module:
                task["attribute"] = self.entry_point().attr or ""
            kind._observed = run_child(  # type: ignore[attr-defined]
                "modelplug.testing.conformance.import_child", task, self.hang_seconds
            )
        found: dict[str, Any] = vars(kind)["_observed"]
        return found

    def _heavy(self, modules: list[str]) -> list[str]:
        forbidden = HEAVY_MODULES | set(self.engine_modules)
        return sorted(
            name for name in modules if name in self.engine_modules or name.partition(".")[0] in forbidden
        )

    def test_plugin_is_ready(self) -> None:
        """The plugin is found through its entry point and passes the checks of every plugin."""
        from modelplug.runtime import Runtime

        name = self.report().plugin
        runtime = Runtime()
        runtime.backends.reports()
        record = next(record for record in runtime.plugins.records if record.name == name)
        assert str(record.state) == "ready", clause(
            "ENTRY_POINT_GROUP", f"the plugin {name} is {record.state}: {record.cause}"
        )

    def test_plugin_states_the_version_of_the_contract(self) -> None:
        """`MODELPLUG_HOOKSPEC_VERSION` is a "major.minor" that this modelplug supports."""
        from modelplug.hookspecs import HOOKSPEC_VERSION

        stated = self.observed()["version"]
        see = "MODELPLUG_HOOKSPEC_VERSION"
        assert isinstance(stated, str), clause(see, f"it is {stated!r}, not text")
        assert re.fullmatch(r"\d+\.\d+", stated), clause(see, f"it is {stated!r}, not 'major.minor'")
        major, minor = map(int, stated.split("."))
        ours = tuple(map(int, HOOKSPEC_VERSION.split(".")))
        assert major == ours[0], clause(see, f"it is {stated}; this modelplug has {HOOKSPEC_VERSION}")
        assert minor <= ours[1], clause(see, f"it is {stated}; this modelplug has {HOOKSPEC_VERSION}")

    def test_importing_the_plugin_imports_no_engine(self) -> None:
        """In a fresh interpreter, importing the plugin's module loads no engine and no tensor library."""
        heavy = self._heavy(self.observed()["imported"])
        assert not heavy, clause(
            "modelplug_detect_backends",
            f"importing {self.module_name()} imports {', '.join(heavy[:5])}; every modelplug command would "
            "wait for that: import them inside the functions that need them",
        )

    def test_importing_the_plugin_starts_nothing(self) -> None:
        """Importing the plugin's module starts no process and opens no connection."""
        events = self.observed()["import_events"]
        assert not events, clause(
            "modelplug_detect_backends", f"importing {self.module_name()} does more than that: {events}"
        )

    def test_detection_imports_no_engine(self) -> None:
        """Detecting the backend imports no engine: what only it can tell is for the deep probe."""
        assert self.observed()["detects"], clause(
            "modelplug_detect_backends", f"{self.module_name()} does not implement the hook"
        )
        heavy = self._heavy(self.observed()["detected"])
        assert not heavy, clause(
            "modelplug_detect_backends",
            f"detection imports {', '.join(heavy[:5])}; look with importlib.util.find_spec and "
            "importlib.metadata, and put what only the engine can tell into BackendReport.deep_probe",
        )

    def test_detection_starts_nothing(self) -> None:
        """Detecting the backend starts no process and opens no connection."""
        events = self.observed()["detect_events"]
        assert not events, clause(
            "modelplug_detect_backends",
            f"detection starts processes or connects: {events}; that belongs into BackendReport.deep_probe",
        )
