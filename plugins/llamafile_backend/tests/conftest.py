"""Fixtures: a demo model, programs that behave like llamafile, and models loaded with them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import modelplug_llamafile
from modelplug.backends.types import Deadlines, LoadRequest
from modelplug.formats.inspection import inspect
from modelplug.testing.demo_weights import write_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelplug.backends.model import Model
    from modelplug.formats.model_info import ModelInfo

PROGRAM = Path(__file__).parent / "fake_llamafile" / "program.py"
PROMPT = "ROMEO:\nBut soft, what"

ORACLE = """
import json, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.n_gpu_layers = 512, 1, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = params.ui = params.fit_params = False
params.verbosity = 0
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": sys.argv[2], "max_tokens": 48, "temperature": 0.0})
text = answer["choices"][0]["text"]
print("ORACLE" + json.dumps(text))
"""


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in F16."""
    return write_gguf(tmp_path_factory.mktemp("models"), "f16")


@pytest.fixture(scope="session")
def info(model_file: Path) -> ModelInfo:
    """What inspection says of the demo model."""
    return inspect(model_file)


@pytest.fixture(scope="session")
def oracle(model_file: Path) -> str:
    """What llama.cpp itself continues the prompt with, greedily, without any server in between."""
    result = subprocess.run(
        [sys.executable, "-c", ORACLE, str(model_file), PROMPT], capture_output=True, text=True, check=True
    )
    line = next(line for line in result.stdout.splitlines() if line.startswith("ORACLE"))
    return str(json.loads(line.removeprefix("ORACLE")))


@pytest.fixture
def fake(tmp_path: Path, modelplug_home: Path) -> Callable[..., Path]:
    """Makes an executable that behaves like a llamafile program of a dialect, with a fault."""

    def make(dialect: str = "modern", fault: str = "", *, name: str = "llamafile") -> Path:
        path = tmp_path / "programs" / f"{dialect}-{fault}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        command = shlex.join([sys.executable, str(PROGRAM), "--fake", f"{dialect}:{fault}"])
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def request_for(
    model_file: Path, info: ModelInfo, tmp_path: Path, fake: Callable[..., Path]
) -> Callable[..., LoadRequest]:
    """Makes load requests for the demo model."""

    def make(dialect: str = "modern", fault: str = "", **given: Any) -> LoadRequest:
        program, server = ("v1", "v2") if dialect == "v2" else (dialect, "auto")
        settings = {"executable": str(fake(program, fault)), "server": server, **given.pop("settings", {})}
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        request = {
            "backend": "llamafile",
            "path": model_file,
            "info": info,
            "context_size": 512,
            # Threads that wait by spinning make each other wait when the machine is busy.
            "threads": 1,
            "deadlines": Deadlines(load=60.0, first_token=60.0),
            "scratch": scratch,
        }
        return LoadRequest(settings=settings, **{**request, **given})

    return make


@pytest.fixture
def load(request_for: Callable[..., LoadRequest]) -> Iterator[Callable[..., Model]]:
    """Loads the demo model with a program of some dialect and fault; closes it in the end."""
    loaded: list[Model] = []

    def make(dialect: str = "modern", fault: str = "", **given: Any) -> Model:
        model = modelplug_llamafile.modelplug_load_model(request_for(dialect, fault, **given))
        assert model is not None
        loaded.append(model)
        return model

    yield make
    for model in loaded:
        model.close()
