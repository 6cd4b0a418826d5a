"""Help for testing backends and programs that embed modelplug.

A plugin author derives a test class from `BackendConformance`, and has the contract checked:

    from modelplug.testing import BackendConformance

    class TestMyEngine(BackendConformance):
        backend = "my-engine"

The fixtures that come with it, for embedding programs too, are described in `modelplug.testing.plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelplug.testing.conformance import BackendConformance
    from modelplug.testing.scripted import ScriptedModel

__all__ = ["BackendConformance", "ScriptedModel"]


def __getattr__(name: str) -> Any:
    # The kit needs pytest, which the helpers that make model files do without.
    if name == "BackendConformance":
        import pytest

        # Before the first import of the modules: failed assertions then show both sides.
        pytest.register_assert_rewrite("modelplug.testing.conformance")
        from modelplug.testing.conformance import BackendConformance

        return BackendConformance
    if name == "ScriptedModel":
        from modelplug.testing.scripted import ScriptedModel

        return ScriptedModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
