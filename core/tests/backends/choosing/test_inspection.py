"""Inspection with the verdict of every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelplug.backends.inspection import ModelInspector, inspected, with_backends
from modelplug.backends.known import KNOWN_BACKENDS
from modelplug.errors import ModelNotFoundError
from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_each_backend_is_compatible_or_has_a_reason(kit: Any) -> None:
    """Every backend is in exactly one of the two lists."""
    reports = [
        kit.report("fits"),
        kit.report("narrow", formats=("ggml",)),
        kit.report("gone", "not-installed", cause="no package"),
    ]

    info = with_backends(kit.model(), kit.runtime(*reports))

    assert info.compatible_backends == ("fits",)
    assert info.incompatible_backends == {
        "narrow": "it does not load the format gguf (it loads ggml)",
        "gone": "not installed: no package",
    }


def test_memory_is_no_question_of_compatibility(kit: Any) -> None:
    """A model too large for now is still one that the backend can run."""
    runtime = kit.runtime(kit.report(), system=kit.system(available=0))

    assert with_backends(kit.model(), runtime).compatible_backends == ("engine",)


def test_the_bundled_model_is_inspected_by_name(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any]
) -> None:
    """`demo` works like a path, and the guide's two attributes are there."""
    runtime = runtime_of([plugin("mine", kit.report("mine"))])

    info = ModelInspector(runtime).inspect_model("demo")

    assert info.format == "gguf"
    assert info.compatible_backends == ("mine",)
    assert set(info.incompatible_backends) == set(KNOWN_BACKENDS)


def test_a_plugin_is_asked_about_a_format_that_the_core_does_not_know(
    kit: Any, plugin: Callable[..., Any], runtime_of: Callable[..., Any], tmp_path: Path
) -> None:
    """Its record is used as it is, and its backend is judged by it."""
    file = tmp_path / "model.mine"
    file.write_bytes(b"MINE" + bytes(4096))
    entry = plugin("mine", kit.report("mine", formats=("mine",)))

    @hookimpl
    def modelplug_inspect_model(path: Path) -> Any:
        return kit.model(path=path, format="mine") if path.suffix == ".mine" else None

    import sys

    sys.modules[entry.module].modelplug_inspect_model = modelplug_inspect_model  # type: ignore[attr-defined]

    info = ModelInspector(runtime_of([entry])).inspect_model(file)

    assert (info.format, info.path, info.compatible_backends) == ("mine", file, ("mine",))


def test_a_missing_model_is_an_error(runtime_of: Callable[..., Any], tmp_path: Path) -> None:
    """A path that leads nowhere says so."""
    with pytest.raises(ModelNotFoundError):
        inspected(tmp_path / "nothing.gguf", runtime_of())
