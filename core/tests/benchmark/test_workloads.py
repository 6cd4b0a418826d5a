"""Workloads, those of plugins included, and the prompts that are cut for them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug import Benchmark, Runtime
from modelplug.backends.model import Capabilities
from modelplug.benchmark.prompts import PromptCutter
from modelplug.benchmark.workload import QUICK, STANDARD, choose_workloads, known_workloads
from modelplug.errors import UsageError

PLUGIN = """
    from modelplug import Benchmark
    from modelplug.hookspecs import hookimpl

    MODELPLUG_HOOKSPEC_VERSION = "1.0"

    @hookimpl
    def modelplug_benchmarks():
        yield Benchmark(name="code-64", prompt_tokens=8, generate_tokens=64, text="def main():")
        yield Benchmark(name="prompt-32", prompt_tokens=1)
        yield object()
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime with one plugin, which brings a workload, one whose name is taken, and something else."""
    (tmp_path / "plug_workloads.py").write_text(textwrap.dedent(PLUGIN))
    information = tmp_path / "dist_workloads-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-workloads\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[modelplug]\nworkloads = plug_workloads\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")
    monkeypatch.setenv("MODELPLUG_PLUGINS", "workloads")
    made = Runtime()
    yield made
    made.history.close()


def test_plugins_bring_workloads(runtime: Runtime) -> None:
    """What a plugin brings is known; what has a name that is taken, or is no workload, is left out."""
    known = known_workloads(runtime.plugins)
    record = runtime.plugins.record("workloads")

    assert [name for name in known if name not in {w.name for w in STANDARD}] == ["code-64"]
    assert known["prompt-32"] is STANDARD[0]
    problems = " ".join([record.cause, *record.warnings])
    assert "a benchmark named 'prompt-32'" in problems
    assert "a benchmark of the type object" in problems


def test_workloads_are_chosen_by_name(runtime: Runtime) -> None:
    """Named ones in the order given, none twice; without names the standard ones, or the few quick ones."""
    chosen = choose_workloads(["code-64", "prompt-32", "code-64"], runtime.plugins, quick=True)

    assert [workload.name for workload in chosen] == ["code-64", "prompt-32"]
    assert choose_workloads([], runtime.plugins, quick=False) == STANDARD
    assert choose_workloads([], runtime.plugins, quick=True) == QUICK


def test_an_unknown_workload_is_answered_with_the_nearest(runtime: Runtime) -> None:
    """A misspelt name is an error that names the one that was meant."""
    with pytest.raises(UsageError, match="no workload named 'prompt-33'") as caught:
        choose_workloads(["prompt-33"], runtime.plugins, quick=False)
    assert "prompt-32" in caught.value.why


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Upper"},
        {"name": ""},
        {"name": "a", "prompt_tokens": 0},
        {"name": "a", "generate_tokens": True},
    ],
)
def test_a_workload_checks_itself(wrong: dict[str, Any]) -> None:
    """A name or number that makes no sense is refused where it is written."""
    with pytest.raises(ValueError):
        Benchmark(**wrong)


def test_the_standard_sizes_are_those_of_the_documents() -> None:
    """Prompts of 32, 128 and 512 tokens, and generations of 32 and 128."""
    sizes = [(w.name, w.prompt_tokens if w.measures_prompt else w.generate_tokens) for w in STANDARD]

    assert sizes == [
        ("prompt-32", 32),
        ("prompt-128", 128),
        ("prompt-512", 512),
        ("generate-32", 32),
        ("generate-128", 128),
    ]


# Prompts --------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=12), seed=st.integers(0, 100))
def test_prompts_have_exactly_so_many_tokens_and_fresh_beginnings(
    modelplug_scripted: Callable[..., Any], sizes: list[int], seed: int
) -> None:
    """Every prompt has the size asked for, and begins with another token than the eight before it."""
    cutter = PromptCutter(modelplug_scripted(), seed=seed)
    prompts = [cutter.cut(size) for size in sizes]

    assert [len(prompt) for prompt in prompts] == sizes
    for place, prompt in enumerate(prompts):
        assert prompt[0] not in {earlier[0] for earlier in prompts[max(0, place - 8) : place]}


def test_prompts_are_the_same_every_time(modelplug_scripted: Callable[..., Any]) -> None:
    """Two cutters with the same seed give the same prompts, so that benchmarks are alike."""
    model = modelplug_scripted()
    one, two = (PromptCutter(model, seed=3) for _ in range(2))

    assert [one.cut(10) for _ in range(5)] == [two.cut(10) for _ in range(5)]


def test_a_text_of_ones_own_is_cut_and_repeated(modelplug_scripted: Callable[..., Any]) -> None:
    """Prompts come from the text that is given, from its beginning again where it is too short."""
    model = modelplug_scripted()
    prompt = PromptCutter(model, "abc").cut(7)

    assert model.detokenize(prompt) in ("abcabca", "bcabcab", "cabcabc")


def test_an_engine_without_a_tokenizer_gets_words(modelplug_scripted: Callable[..., Any]) -> None:
    """Where tokens can't be counted beforehand, the prompt is a text of so many words."""
    model = modelplug_scripted()
    model.capabilities = attrs.evolve(Capabilities(), tokenize=False)
    prompt = PromptCutter(model).cut(12)

    assert isinstance(prompt, str)
    assert len(prompt.split()) == 12
