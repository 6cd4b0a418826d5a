"""The demo model's directory, copies of it that differ in one respect, and a loader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import resnet_bk.backend
from modelplug.backends.model import Model
from modelplug.backends.types import LoadRequest
from modelplug.formats.inspection import inspect
from resnet_bk.backend.demo_model import demo_directory

Loader = Callable[..., Model]


def _load(path: Path, **changes: Any) -> Model:
    wanted: dict[str, Any] = {"context_size": 256, "threads": 1, **changes}
    request = LoadRequest(backend="resnet-bk", path=path, info=inspect(path), **wanted)
    model = resnet_bk.backend.modelplug_load_model(request)
    assert model is not None
    return model


@pytest.fixture(scope="session")
def shared_model() -> Iterator[Model]:
    """The demo model, loaded once for all tests that leave it as it was."""
    with _load(demo_directory()) as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def engine_imported(shared_model: Model) -> None:
    """Import the engine before the first test, because its import leaves traces in the process."""


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """Leave processors to others."""


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


@pytest.fixture
def directory(tmp_path: Path) -> Callable[..., Path]:
    """Copies the demo model with other entries in `config.json`, or without some files."""

    def copy(*, drop: tuple[str, ...] = (), **config: Any) -> Path:
        target = tmp_path / "model"
        shutil.copytree(demo_directory(), target)
        for name in drop:
            (target / name).unlink()
        path = target / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return target

    return copy
