"""Models put to the test on real engines: a sound one, one without numbers, and two engines side by side."""

from __future__ import annotations

import importlib.util
import math
from array import array
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import modelplug
from modelplug.data import demo_model_path
from modelplug.errors import BackendError
from modelplug.testing.demo_gguf import read_demo_gguf, write_demo_gguf

PACKAGES = {
    "llamacpp": ("modelplug_llamacpp", "xllamacpp"),
    "ctransformers": ("modelplug_ctransformers", "ctransformers"),
}

pytestmark = pytest.mark.timeout(300)


def need(*backends: str) -> None:
    """Skip the test unless everything these backends need is there."""
    for backend in backends:
        if any(importlib.util.find_spec(name) is None for name in PACKAGES[backend]):
            pytest.skip(f"{' or '.join(PACKAGES[backend])} is not installed")


@pytest.fixture
def runtime() -> Iterator[modelplug.Runtime]:
    """A runtime whose history is closed afterwards."""
    made = modelplug.Runtime()
    yield made
    made.history.close()


def without_numbers(directory: Path) -> Path:
    """The demo model with a norm of NaN, so that every logit is NaN; its header is sound."""
    demo = read_demo_gguf(demo_model_path())
    tensors = []
    for tensor in demo.tensors:
        if tensor.name == "output_norm.weight":
            values = array("f", [math.nan] * len(tensor.values))
            tensor = attrs.evolve(tensor, values=values, stored=values.tobytes())
        tensors.append(tensor)
    path = directory / "nan.gguf"
    write_demo_gguf(attrs.evolve(demo, tensors=tuple(tensors)), path, "q8_0")
    return path


def test_llama_cpp_passes_with_the_demo_model(runtime: modelplug.Runtime) -> None:
    """It is loaded by the engine that is preferred, every check is made, and all of them pass."""
    need("llamacpp")
    runtime.config.set("preferred_backend", "llamacpp")
    ((path, result),) = modelplug.ModelTester(runtime).test_all_models(["demo"]).items()

    assert path == str(demo_model_path())
    assert (result.success, result.backend, result.error) == (True, "llamacpp", "")
    assert [check.outcome for check in result.checks] == ["passed"] * 3
    assert result.tokens_per_second > 0


@pytest.mark.parametrize("backend", PACKAGES)
def test_weights_that_are_no_numbers_are_found_out(
    backend: str, runtime: modelplug.Runtime, tmp_path: Path
) -> None:
    """An engine that goes on with NaN, and one that refuses to, both fail the same check."""
    need(backend)
    tester = modelplug.ModelTester(runtime)
    (result,) = tester.run([without_numbers(tmp_path)], backends=[backend], tokens=4).results

    assert not result.success
    assert isinstance(result.failure, BackendError)
    assert result.failure.cause == "not-finite"
    assert next(check.name for check in result.failed_checks) == "finite"
    assert result.suggestion


def test_two_engines_agree_on_the_demo_model(runtime: modelplug.Runtime) -> None:
    """The answers are the same, or part where two tokens were as good as each other."""
    need("llamacpp", "ctransformers")
    tester = modelplug.ModelTester(runtime)
    report = tester.run(["demo"], backends=["llamacpp", "ctransformers"], tokens=8, settings={"threads": 1})
    (parity,) = report.parities

    assert report.success
    assert parity.labels == ("llamacpp", "ctransformers")
    assert parity.outcome in ("same", "rounding")
    assert all(d.parting.unit == "token" and d.parting.rounding for d in parity.differences)


def test_the_guides_code_runs(runtime: modelplug.Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    """What the migration guide prints of every model and of the best backend can be printed, failures too."""
    need("llamacpp")
    runtime.history.add_model("mine", demo_model_path())
    runtime.history.add_model("gone", Path("/nowhere/gone.gguf"))
    for model_path, result in modelplug.ModelTester(runtime).test_all_models().items():
        print(f"{model_path}: {result.success} {result.backend} {result.tokens_per_second:.1f} tok/s")
        if not result.success:
            print(f"{result.error} / {result.suggestion}")
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "/nowhere/gone.gguf: False  nan tok/s"
    assert "modelplug models add gone PATH" in lines[1]
    assert lines[2].startswith(f"{demo_model_path()}: True ")
