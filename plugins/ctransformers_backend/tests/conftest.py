"""Models and a loader for the tests of this plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest

import modelplug_ctransformers
from modelplug.backends.model import Model
from modelplug.backends.types import LoadRequest
from modelplug.formats.inspection import inspect
from modelplug.testing.demo_weights import write_gguf

Loader = Callable[..., Model]


def _rewrite(
    source: Path,
    target: Path,
    *,
    change: dict[str, tuple[Any, gguf.GGUFValueType]] | None = None,
    drop: tuple[str, ...] = (),
    drop_tensors: tuple[str, ...] = (),
    add_tensors: dict[str, numpy.ndarray[Any, Any]] | None = None,
) -> Path:
    """Write `source` to `target` with other keys or tensors.

    Args:
        source: A GGUF file with unquantised tensors.
        target: The file to write.
        change: Key -> value and its type, added or replaced.
        drop: Keys to leave out.
        drop_tensors: Tensors to leave out.
        add_tensors: Tensors to add.

    Returns:
        `target`.
    """
    reader = gguf.GGUFReader(source)
    changes = change or {}
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in (*drop, *changes, "general.architecture"):
            continue
        kind = field.types[0]
        inner = field.types[1] if kind is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for key, (value, kind) in changes.items():
        writer.add_key_value(key, value, kind)
    for tensor in reader.tensors:
        if tensor.name not in drop_tensors:
            writer.add_tensor(tensor.name, numpy.asarray(tensor.data))
    for name, data in (add_tensors or {}).items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the demo model in a precision."""
    folder = tmp_path_factory.mktemp("demo")
    return lambda precision: write_gguf(folder, precision)


@pytest.fixture
def load() -> Iterator[Loader]:
    """Loads with this plugin's own hook, and closes what was loaded."""
    loaded: list[Model] = []

    def loader(path: Path, **changes: Any) -> Model:
        # One thread: on a busy machine the engine's threads wait for each other by spinning.
        wanted: dict[str, Any] = {"context_size": 256, "threads": 1, **changes}
        request = LoadRequest(backend="ctransformers", path=path, info=inspect(path), **wanted)
        model = modelplug_ctransformers.modelplug_load_model(request)
        assert model is not None
        loaded.append(model)
        return model

    yield loader
    for model in loaded:
        model.close()


@pytest.fixture
def model(load: Loader, demo: Callable[[str], Path]) -> Model:
    """The demo model in F16, loaded with the engine's own defaults."""
    return load(demo("f16"))


@pytest.fixture
def rewrite() -> Callable[..., Path]:
    """Writes GGUF files that differ from another in one respect."""
    return _rewrite
