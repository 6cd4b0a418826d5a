"""What it costs to run an engine in a worker process: throughput and time to the first token.

The direct way is llama.cpp called through xllamacpp, with its own streaming callback. It is compared with
modelplug's worker and with modelplug inline, turn by turn within one run. Each way has a host process of its
own, because two engines in one process disturb each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import gguf
import numpy as np
import xllamacpp

import modelplug
from modelplug.data import demo_model_path
from modelplug.testing.demo_weights import write_gguf

PROMPT = "ROMEO:\nBut soft, what light"
# One core is left to the host, to the rest of the machine and to its noise.
THREADS = max(1, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 1
PARAMS = modelplug.GenerateParams(temperature=0.0)


@attrs.frozen
class Timing:
    """One request: seconds to the first token, seconds in all, tokens."""

    first: float
    total: float
    tokens: int

    @property
    def speed(self) -> float:
        """Tokens per second after the first one, whose time is a figure of its own."""
        return (self.tokens - 1) / (self.total - self.first)


class Direct:
    """llama.cpp without modelplug."""

    def __init__(self, path: Path) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.n_gpu_layers = 512, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
        params.warmup = params.ui = params.fit_params = False
        params.verbosity = 0
        self._server = xllamacpp.Server(params)

    def run(self, count: int) -> Timing:
        """Time one request."""
        times: list[float] = []
        tokens = 0

        def take(chunk: Any) -> bool:
            nonlocal tokens
            times.append(time.perf_counter())
            usage = (chunk if isinstance(chunk, dict) else json.loads(chunk)).get("usage")
            tokens = usage["completion_tokens"] if usage else tokens
            return False

        began = time.perf_counter()
        body = {
            "prompt": PROMPT,
            "max_tokens": count,
            "temperature": 0.0,
            "stream": True,
            "samplers": ["temperature"],
            "stream_options": {"include_usage": True},
        }
        self._server.handle_completions(body, take)
        return Timing(times[0] - began, time.perf_counter() - began, tokens)


class Ours:
    """llama.cpp through modelplug."""

    def __init__(self, path: Path, isolation: str) -> None:
        self.model = modelplug.load(
            path, backend="llamacpp", isolation=isolation, context_size=512, threads=THREADS
        )

    def run(self, count: int) -> Timing:
        """Time one request."""
        first = 0.0
        began = time.perf_counter()
        for chunk in self.model.generate(PROMPT, attrs.evolve(PARAMS, max_tokens=count)):
            first = first or time.perf_counter()
            last = chunk
        assert last.stats is not None
        return Timing(first - began, time.perf_counter() - began, last.stats.completion_tokens)


def slow_model(directory: Path) -> Path:
    """A Llama model of random weights that makes about a hundred tokens a second on two ordinary cores."""
    path = directory / "random-llama-26-q8_0.gguf"
    if path.exists():
        return path
    width, hidden, layers, heads = 768, 2048, 26, 12
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
            sub_type = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    vocabulary = len(demo.fields["tokenizer.ggml.tokens"].data)
    random = np.random.default_rng(1)

    def add(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(columns)
        if name == "output.weight":
            # A row of zeros is never the largest: the end-of-text token does not come up.
            values[2] = 0.0
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

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


class Host:
    """A process that runs a model in one way, on request."""

    def __init__(self, way: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", way, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def run(self, count: int) -> Timing:
        """Time one request."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return Timing(*self._read())

    def _read(self) -> list[Any]:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("RESULT "):
            if not line:
                raise RuntimeError("a host of the benchmark has died")
        answer: list[Any] = json.loads(line.removeprefix("RESULT "))
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(way: str, path: Path) -> None:
    """Answer each line of standard input, a number of tokens, with a timing."""
    runner = Direct(path) if way == "direct" else Ours(path, "process" if way == "worker" else way)
    print("RESULT []", flush=True)
    for line in sys.stdin:
        timing = runner.run(int(line))
        print("RESULT", json.dumps([timing.first, timing.total, timing.tokens]), flush=True)
    if isinstance(runner, Ours):
        runner.model.close()


@contextlib.contextmanager
def runners(path: Path) -> Iterator[dict[str, Callable[[int], Timing]]]:
    """The three ways of running a model, all loaded."""
    hosts = {way: Host(way, path) for way in ("direct", "worker", "inline")}
    try:
        yield {way: host.run for way, host in hosts.items()}
    finally:
        for host in hosts.values():
            host.close()


def measure(path: Path, count: int, rounds: int) -> dict[str, list[Timing]]:
    """Timings of each way, taken in turn."""
    with runners(path) as ways:
        for run in ways.values():
            for _ in range(2):
                run(count)
        timings: dict[str, list[Timing]] = {name: [] for name in ways}
        for number in range(rounds):
            names = list(ways)
            # Each way is first, second and last equally often.
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                timings[name].append(ways[name](count))
                # The threads of an engine go on spinning for a moment after a request.
                time.sleep(0.05)
    return timings


def ratio(timings: dict[str, list[Timing]], way: str) -> float:
    """Median over the rounds of how fast a way is, relative to the direct one of the same round."""
    pairs = zip(timings[way], timings["direct"], strict=True)
    return statistics.median(ours.speed / direct.speed for ours, direct in pairs)


def added_to_first(timings: dict[str, list[Timing]], way: str) -> float:
    """Median milliseconds by which a way's first token is later than the direct one's of the round."""
    pairs = zip(timings[way], timings["direct"], strict=True)
    return 1000 * statistics.median(ours.first - direct.first for ours, direct in pairs)


def main(out: Path) -> list[dict[str, Any]]:
    """Measure both models; returns a record per figure."""
    out.mkdir(parents=True, exist_ok=True)
    slow_path, quick_path = slow_model(out), write_gguf(out, "q8_0")
    slow, quick = measure(slow_path, 48, 9), measure(quick_path, 256, 42)
    # Many short requests tell more of the first token than a few long ones.
    slow_firsts, quick_firsts = measure(slow_path, 2, 30), measure(quick_path, 2, 30)
    speeds = {
        f"{model} {way}": statistics.median(timing.speed for timing in timings[way])
        for model, timings in (("slow", slow), ("demo", quick))
        for way in timings
    }
    records = []
    for model, timings, way, threshold in (
        ("a model of about 100 tokens/s", slow, "worker", 0.97),
        ("the demo model", quick, "worker", 0.85),
        ("a model of about 100 tokens/s", slow, "inline", 0.99),
    ):
        value = ratio(timings, way)
        records.append(_record(f"{way} over direct, {model}", value, threshold, "higher", "times"))
    for model, timings in (("a model of about 100 tokens/s", slow_firsts), ("the demo model", quick_firsts)):
        value = added_to_first(timings, "worker")
        records.append(
            _record(f"time to first token added by the worker, {model}", value, 3.0, "lower", "ms")
        )
    for record in records:
        record["speeds"] = speeds
    return records


def _record(name: str, value: float, threshold: float, better: str, unit: str) -> dict[str, Any]:
    passed = value >= threshold if better == "higher" else value <= threshold
    return {
        "name": name,
        "value": value,
        "ratio": value,
        "unit": unit,
        "threshold": threshold,
        "better": better,
        "passed": passed,
    }


if __name__ == "__main__" and sys.argv[1:2] == ["--serve"]:
    serve(sys.argv[2], Path(sys.argv[3]))
elif __name__ == "__main__":
    for entry in main(Path(sys.argv[1] if len(sys.argv) > 1 else "bench-results")):
        print(json.dumps(entry))
