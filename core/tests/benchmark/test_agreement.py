"""Agreement with llama.cpp's own instrument: the `timings` that its server reports for each request.

Both look at the same requests, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import modelplug
from modelplug.benchmark.candidates import BenchmarkCandidate
from modelplug.benchmark.collecting import Collected, Instruments
from modelplug.benchmark.energy import EnergyMeter
from modelplug.benchmark.metrics import draw_metrics
from modelplug.benchmark.session import _Round
from modelplug.benchmark.workload import Benchmark
from modelplug.data import demo_model_path
from modelplug.system import Host

WORKLOADS = (
    Benchmark(name="prompt-32", prompt_tokens=32),
    Benchmark(name="prompt-128", prompt_tokens=128),
    Benchmark(name="generate-32", prompt_tokens=16, generate_tokens=32),
    Benchmark(name="generate-128", prompt_tokens=16, generate_tokens=128),
)

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "modelplug_llamacpp")),
        reason="llama.cpp and its plugin are not installed",
    ),
    pytest.mark.timeout(300),
]


class Witness:
    """Stands between the plugin and llama.cpp's server, and keeps the timings of every request."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.timings: list[dict[str, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def handle_completions(self, request: str, take: Callable[[str], bool]) -> None:
        """Pass a request on, and note the timings in the last of its answers."""
        last: dict[str, float] = {}

        def note(answer: str) -> bool:
            nonlocal last
            last = json.loads(answer).get("timings") or last
            return take(answer)

        self._server.handle_completions(request, note)
        self.timings.append(last)


@pytest.fixture
def witnesses(monkeypatch: pytest.MonkeyPatch) -> list[Witness]:
    """The witness of every server that is started."""
    import xllamacpp

    made: list[Witness] = []
    real = xllamacpp.Server

    def start(params: Any) -> Witness:
        made.append(Witness(real(params)))
        return made[-1]

    monkeypatch.setattr(xllamacpp, "Server", start)
    return made


@pytest.fixture
def larger_model(tmp_path: Path) -> Path:
    """A Llama model of ten million random weights, beside which what a request costs by itself is small."""
    import gguf
    import numpy as np

    width, hidden, layers, heads = 384, 1024, 6, 6
    path = tmp_path / "random.gguf"
    demo = gguf.GGUFReader(demo_model_path())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, field in demo.fields.items():
        if name.startswith("tokenizer.") and name != "tokenizer.chat_template":
            kind = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], kind)
    vocabulary = len(demo.fields["tokenizer.ggml.tokens"].data)
    random = np.random.default_rng(1)

    def add(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns)
        if name == "output.weight":
            # A row of zeros is never the largest: the end-of-text token does not come up.
            values[2] = 0.0
        writer.add_tensor(name, values.astype(np.float32))

    add("token_embd.weight", vocabulary, width)
    add("output.weight", vocabulary, width)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", width, width)
        add(f"blk.{layer}.ffn_gate.weight", hidden, width)
        add(f"blk.{layer}.ffn_up.weight", hidden, width)
        add(f"blk.{layer}.ffn_down.weight", width, hidden)
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def measured(witnesses: list[Witness], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Measures one round of a model with llama.cpp in this process, as a benchmark does."""
    runtime = modelplug.Runtime()

    def measure(path: Path, *workloads: Benchmark) -> tuple[list[Any], list[dict[str, float]]]:
        with modelplug.load(
            path, backend="llamacpp", isolation="inline", threads=1, runtime=runtime
        ) as model:
            candidate = BenchmarkCandidate(label="a", name="a", info=model.info, backend="llamacpp")
            collected = Collected(candidate=candidate)
            instruments = Instruments(
                runtime=runtime,
                accelerators=None,
                energy=EnergyMeter(Host(root=tmp_path)),
                began=time.perf_counter(),
                deadline=None,
                longest_request=300.0,
                on_step=lambda _step: None,
            )
            _Round(collected, 0, model, instruments).measure(workloads)
        (witness,) = witnesses
        assert len(witness.timings) == len(collected.requests)
        return collected.requests, witness.timings

    yield measure
    runtime.history.close()


def test_rates_agree_with_llama_cpps_own_timings(measured: Callable[..., Any], reports: Any) -> None:
    """At every size the median rates are within 3 % of those that llama.cpp's server reports."""
    requests, timings = measured(demo_model_path(), *WORKLOADS)
    figures = {m.name: m for m in draw_metrics(WORKLOADS, requests, [reports.round()], reports.environment)}
    counted = [pair for pair in zip(requests, timings, strict=True) if not pair[0].warm_up]

    for workload in WORKLOADS:
        field = "prompt_per_second" if workload.measures_prompt else "predicted_per_second"
        theirs = [timing[field] for request, timing in counted if request.workload == workload.name]
        assert len(theirs) >= 1
        assert figures[workload.name].median == pytest.approx(statistics.median(theirs), rel=0.03)


def test_sizes_are_those_that_llama_cpp_processed(measured: Callable[..., Any]) -> None:
    """llama.cpp evaluated exactly the prompt's tokens, none from its cache, and generated the size stated."""
    requests, timings = measured(demo_model_path(), *WORKLOADS)

    for request, timing in zip(requests, timings, strict=True):
        if request.workload.startswith("prompt-"):
            assert (timing["prompt_n"], timing["cache_n"]) == (request.prompt_tokens, 0)
            assert request.workload == f"prompt-{timing['prompt_n']}"
        elif not request.warm_up:
            assert request.workload == f"generate-{timing['predicted_n']}"


def test_the_engines_clock_agrees_with_the_callers(measured: Callable[..., Any], larger_model: Path) -> None:
    """Where a request's own cost is small, the time that the caller sees is llama.cpp's within 3 %."""
    workload = Benchmark(name="generate-64", prompt_tokens=128, generate_tokens=64)
    requests, timings = measured(larger_model, workload)
    ratios = [
        1000 * request.total_seconds / (timing["prompt_ms"] + timing["predicted_ms"])
        for request, timing in zip(requests, timings, strict=True)
    ]

    assert statistics.median(ratios) == pytest.approx(1, rel=0.03)
