"""The pytest plugin that comes with modelplug: fixtures for tests of backends and of embedding programs.

It is active wherever modelplug and pytest are installed.

For programs that embed modelplug:

- `modelplug_home`: a fresh home, so that a test neither reads nor writes its user's settings and history;
- `modelplug_demo_path`: the path of the bundled demo model;
- `modelplug_demo_model`: that model loaded in a worker process, once per test session;
- `modelplug_scripted`: makes models that say what the test wants, without any engine;
- `leak_check`: fails a test that leaves processes, threads, temporary files or environment variables behind.

The `conformance_...` fixtures belong to `modelplug.testing.BackendConformance`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelplug.backends.loaded import LoadedModel
    from modelplug.testing.conformance.closing import Closing
    from modelplug.testing.scripted import ScriptedModel

__all__: list[str] = []


# For everybody ------------------------------------------------------------------------------------------


def _enter_fresh_home(home: Path, patch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MODELPLUG_") and name != "MODELPLUG_SHARED":
            patch.delenv(name)
    patch.setenv("MODELPLUG_HOME", str(home))


@pytest.fixture
def modelplug_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `MODELPLUG_HOME`, with no other `MODELPLUG_` variable set."""
    home = tmp_path_factory.mktemp("modelplug-home")
    _enter_fresh_home(home, monkeypatch)
    return home


@pytest.fixture
def leak_check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails a test that leaks environment variables, processes, threads or temporary files."""
    from modelplug.testing.leaks import Surroundings, leaks_since

    temporary = tmp_path_factory.mktemp("tmp")
    before_environment = os.environ.get("TMPDIR")
    before_default = tempfile.tempdir
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    before = Surroundings.now(temporary)
    yield
    found = leaks_since(before)
    tempfile.tempdir = before_default
    if before_environment is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before_environment
    if found:
        pytest.fail("the test leaves something behind: " + "; ".join(found), pytrace=False)


@pytest.fixture(scope="session")
def modelplug_demo_path() -> Path:
    """The path of the demo model that comes with modelplug, a GGUF file."""
    from modelplug.data import demo_model_path

    return demo_model_path()


@pytest.fixture(scope="session")
def modelplug_demo_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """The demo model, loaded in a worker process by the best backend installed; skips where there is none."""
    from modelplug.backends.api import load
    from modelplug.errors import NothingSuitableError

    with pytest.MonkeyPatch.context() as patch:
        _enter_fresh_home(tmp_path_factory.mktemp("modelplug-home"), patch)
        try:
            model = load("demo")
        except NothingSuitableError as error:
            pytest.skip(f"no backend can run the demo model: {error}")
    with model:
        yield model


@pytest.fixture
def modelplug_scripted() -> Iterator[Callable[..., ScriptedModel]]:
    """Makes models that need no engine: `modelplug_scripted("Hello!")` answers everything with that.

    Takes what `modelplug.testing.ScriptedModel` takes; the models are closed after the test.
    """
    from modelplug.testing.scripted import ScriptedModel

    made: list[ScriptedModel] = []

    def make(*arguments: Any, **options: Any) -> ScriptedModel:
        model = ScriptedModel(*arguments, **options)
        made.append(model)
        return model

    yield make
    for model in made:
        model.close()


# For the conformance kit --------------------------------------------------------------------------------


@pytest.fixture(scope="class")
def conformance_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh `MODELPLUG_HOME` for all tests of a class."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("modelplug-home")
        _enter_fresh_home(home, patch)
        yield home


@pytest.fixture(scope="class")
def conformance_path(
    request: pytest.FixtureRequest,
    conformance_home: Path,  # noqa: ARG001  the home must be in place before anything is asked
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The model that the tests of a class load."""
    request.cls.need_engine()
    path: Path = request.cls().model_path(tmp_path_factory)
    return path


@pytest.fixture(scope="class")
def conformance_model(request: pytest.FixtureRequest, conformance_path: Path) -> Iterator[LoadedModel]:
    """The model, loaded in a worker process."""
    with request.cls.load(conformance_path) as model:
        yield model


@pytest.fixture(scope="class")
def conformance_embedder(
    request: pytest.FixtureRequest, conformance_path: Path
) -> Iterator[LoadedModel | None]:
    """The model, loaded for embeddings; None if the backend does not say that it may have them."""
    if "embeddings" not in request.cls.report().capabilities:
        yield None
        return
    with request.cls.load(conformance_path, embeddings=True) as model:
        yield model


@pytest.fixture(scope="class")
def conformance_parallel_model(
    request: pytest.FixtureRequest, conformance_path: Path
) -> Iterator[LoadedModel | None]:
    """The model, loaded to work on several requests at the same time; None if the engine can't."""
    if request.cls.parallel_settings is None:
        yield None
        return
    with request.cls.load(conformance_path, **request.cls.parallel_settings) as model:
        yield model


@pytest.fixture(scope="class")
def conformance_closing(
    request: pytest.FixtureRequest, conformance_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Closing:
    """What came of closing a model in the middle of a request."""
    from modelplug.testing.conformance.closing import close_while_generating

    return close_while_generating(request.cls(), conformance_path, tmp_path_factory.mktemp("tmp"))
