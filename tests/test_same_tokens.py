"""The same weights, decoded greedily, give the same tokens on every engine."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path

import pytest

import modelplug
from modelplug.errors import ModelplugError
from modelplug.testing.demo_weights import write_gguf, write_hugging_face_directory

PROMPTS = ("ROMEO:", "HAMLET:\n", "Hello")
COUNT = 32
FAKE_LLAMAFILE = (
    Path(__file__).parent.parent / "plugins" / "llamafile_backend" / "tests" / "fake_llamafile" / "program.py"
)
PACKAGES = {
    "llamacpp": ("modelplug_llamacpp", "xllamacpp"),
    "ctransformers": ("modelplug_ctransformers", "ctransformers"),
    "transformers": ("modelplug_transformers", "transformers", "torch"),
    # Its program is played by llama.cpp's own server, in a process started with llamafile's arguments.
    "llamafile": ("modelplug_llamafile", "xllamacpp"),
}
WEIGHTS = ("f32", "f16", "hugging-face")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo model with the same weights in several formats."""
    directory = tmp_path_factory.mktemp("same-weights")
    return {
        "f32": write_gguf(directory, "f32"),
        "f16": write_gguf(directory, "f16"),
        "hugging-face": write_hugging_face_directory(directory),
    }


@pytest.fixture(scope="module")
def answers() -> dict[str, list[list[int]]]:
    """What each engine said, collected as the tests run."""
    return {}


def installed(backend: str) -> bool:
    """Whether everything the backend needs is there."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES[backend])


def runtime_for(backend: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> modelplug.Runtime:
    """A runtime with what the backend needs beside the model."""
    runtime = modelplug.Runtime()
    if backend == "transformers":
        runtime.config.set("backends.transformers.torch_dtype", "float32")
    if backend == "llamafile":
        program = directory / "llamafile"
        command = shlex.join([sys.executable, str(FAKE_LLAMAFILE), "--fake", "modern:"])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return runtime


def greedy(backend: str, path: Path, runtime: modelplug.Runtime) -> list[list[int]]:
    """The token ids that follow each prompt."""
    with modelplug.load(
        path, backend=backend, context_size=256, threads=1, fallback="never", runtime=runtime
    ) as model:
        assert model.effective.backend == backend
        assert model.capabilities.token_ids
        params = modelplug.GenerateParams(max_tokens=COUNT, temperature=0.0, return_tokens=True)
        return [
            [token for chunk in model.generate(prompt, params) for token in chunk.tokens]
            for prompt in PROMPTS
        ]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("backend", PACKAGES)
def test_greedy_decoding_gives_the_same_tokens(
    backend: str,
    weights: str,
    models: dict[str, Path],
    answers: dict[str, list[list[int]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine gives the very ids that every other one gives for the same weights, in whatever format.

    An engine that can't load a format says so, and is compared in the others.
    """
    if not installed(backend):
        pytest.skip(f"{' or '.join(PACKAGES[backend])} is not installed")
    if backend == "llamafile" and not FAKE_LLAMAFILE.exists():
        pytest.skip("the stand-in for the llamafile program is not there")
    if weights == "hugging-face" and backend != "transformers":
        with pytest.raises(ModelplugError, match=r"huggingface|format"):
            modelplug.load(models[weights], backend=backend, fallback="never")
        return
    said = greedy(backend, models[weights], runtime_for(backend, tmp_path, monkeypatch))
    assert [len(ids) for ids in said] == [COUNT] * len(PROMPTS)
    # Whoever comes first is the measure; all weights are the same, so one measure does for all formats.
    expected = answers.setdefault("all", said)
    assert said == expected
