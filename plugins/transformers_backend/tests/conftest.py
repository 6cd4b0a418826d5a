"""Models and a loader for the tests of this plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest

import modelplug_transformers
from modelplug.backends.model import Model
from modelplug.backends.types import LoadRequest
from modelplug.formats.inspection import inspect
from modelplug.testing.demo_weights import write_gguf, write_hugging_face_directory

Loader = Callable[..., Model]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo model's other forms are kept during the run."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo(folder: Path) -> Callable[[str], Path]:
    """Gives the demo model in a precision, or as a Hugging Face directory for `hf`."""
    return lambda form: write_hugging_face_directory(folder) if form == "hf" else write_gguf(folder, form)


def _load(path: Path, **changes: Any) -> Model:
    wanted: dict[str, Any] = {"context_size": 256, "threads": 1, **changes}
    request = LoadRequest(backend="transformers", path=path, info=inspect(path), **wanted)
    model = modelplug_transformers.modelplug_load_model(request)
    assert model is not None
    return model


@pytest.fixture
def load() -> Iterator[Loader]:
    """Loads with this plugin's own hook, and closes what was loaded."""
    loaded: list[Model] = []

    def loader(path: Path, **changes: Any) -> Model:
        loaded.append(_load(path, **changes))
        return loaded[-1]

    yield loader
    for model in loaded:
        model.close()


@pytest.fixture(scope="session")
def shared_model(demo: Callable[[str], Path]) -> Iterator[Model]:
    """The demo model as a Hugging Face directory, loaded once for all tests that leave it as it was."""
    with _load(demo("hf")) as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def engine_imported(shared_model: Model) -> None:
    """Import the engine before the first test, because its import leaves traces in the process."""


@pytest.fixture
def rewrite() -> Callable[..., Path]:
    """Writes GGUF files that differ from another in one respect."""

    def writer(
        source: Path,
        target: Path,
        *,
        change: dict[str, tuple[Any, gguf.GGUFValueType]] | None = None,
        drop_tensors: tuple[str, ...] = (),
        add_tensors: dict[str, numpy.ndarray[Any, Any]] | None = None,
    ) -> Path:
        reader = gguf.GGUFReader(source)
        changes = change or {}
        made = gguf.GGUFWriter(target, "llama")
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name in (*changes, "general.architecture"):
                continue
            kind = field.types[0]
            inner = field.types[1] if kind is gguf.GGUFValueType.ARRAY else None
            made.add_key_value(field.name, field.contents(), kind, sub_type=inner)
        for key, (value, kind) in changes.items():
            made.add_key_value(key, value, kind)
        for tensor in reader.tensors:
            if tensor.name not in drop_tensors:
                made.add_tensor(tensor.name, numpy.asarray(tensor.data))
        for name, data in (add_tensors or {}).items():
            made.add_tensor(name, data)
        made.write_header_to_file()
        made.write_kv_data_to_file()
        made.write_tensors_to_file()
        made.close()
        return target

    return writer


@pytest.fixture
def directory(demo: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies the demo model's directory with other entries in `config.json`, or without some files."""

    def copy(name: str = "model", *, drop: tuple[str, ...] = (), **config: Any) -> Path:
        target = tmp_path / name
        target.mkdir()
        for file in demo("hf").iterdir():
            if file.name not in drop:
                (target / file.name).write_bytes(file.read_bytes())
        path = target / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return target

    return copy
