"""Says which clause of the contract a failed assertion is about, and where to read it."""

from __future__ import annotations

__all__ = ["PLACES", "clause"]

_MODEL = (
    "CancelToken",
    "Capabilities",
    "Chunk",
    "Effective",
    "GenerateParams",
    "GenerationStats",
    "Model",
    "ModelStats",
)
_TYPES = ("BackendReport", "BackendSettings", "LoadRequest")
_ERRORS = (
    "BackendError",
    "CapabilityError",
    "ContextOverflowError",
    "ModelplugError",
    "UnsupportedParameterError",
    "WorkerCrashedError",
)
_HOOKS = (
    "ENTRY_POINT_GROUP",
    "MODELPLUG_HOOKSPEC_VERSION",
    "modelplug_backend_settings",
    "modelplug_detect_backends",
    "modelplug_load_model",
)

PLACES: dict[str, str] = {
    **dict.fromkeys(_MODEL, "modelplug.backends.model"),
    **dict.fromkeys(_TYPES, "modelplug.backends.types"),
    **dict.fromkeys(_ERRORS, "modelplug.errors"),
    **dict.fromkeys(_HOOKS, "modelplug.hookspecs"),
}
"""Name -> module whose documentation holds the clause."""


def clause(see: str, problem: str) -> str:
    """A message for an assertion.

    Args:
        see: What is broken, such as `GenerateParams.stop`: a name in `PLACES`, and an attribute or method.
        problem: What the engine did, in a sentence.
    """
    module = PLACES[see.partition(".")[0]]
    return f"{problem}\n  The contract: {see}, documented in {module} (python -m pydoc {module})"
