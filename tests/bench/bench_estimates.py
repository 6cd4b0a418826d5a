"""How well the speed of a model is estimated that has never run here, from others that have.

Models of ten shapes and four formats, with weights of no meaning, run in a home of their own as a user would
run them: one after the other, and this several times over, so that all of them see the machine at its best
and at its worst. Before its first run the estimate for a model is taken down. In the end each of the ten is
estimated from the nine others.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import gguf
import numpy as np

import modelplug
from modelplug.backends.estimate import estimate_plan, machine_of
from modelplug.backends.inspection import inspected
from modelplug.backends.select import BackendSelector
from modelplug.data import demo_model_path
from modelplug.formats.memory import memory_need
from modelplug.testing.demo_gguf import read_demo_gguf

ENGINE = "llamacpp"
ROUNDS = 12
REQUESTS = 2
TOKENS = 32
THREADS = max(1, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 1
CONTEXT = 512

SHAPES = (
    # layers, width, format; in an order in which neither size nor format grows
    (8, 512, "q8_0"),
    (4, 256, "f16"),
    (12, 768, "q4_0"),
    (6, 512, "q6_k"),
    (16, 512, "f16"),
    (10, 1024, "q8_0"),
    (12, 256, "q4_0"),
    (8, 768, "q6_k"),
    (6, 768, "f16"),
    (8, 1024, "q4_0"),
)

TYPES = {
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
    "q6_k": gguf.GGMLQuantizationType.Q6_K,
}
# Where the scales of a block stand: their bytes can't be any number.
SCALES = {"q8_0": 0, "q4_0": 0, "q6_k": 208}


@attrs.frozen
class Outcome:
    """One model: what was expected of it, and what it did."""

    label: str
    basis: str
    expected: float | None
    inside: bool
    measured: float

    @property
    def error(self) -> float | None:
        """The relative error of the estimate, in percent."""
        return None if self.expected is None else 100 * abs(self.expected / self.measured - 1)


def write_model(path: Path, layers: int, width: int, kind: str) -> None:
    """A Llama model of this shape with the demo model's tokenizer and random weights."""
    numbers = np.random.default_rng(layers * width)
    demo = read_demo_gguf(demo_model_path()).metadata
    hidden = -(-width * 8 // 3 // 256) * 256
    heads = width // 64
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(demo["tokenizer.ggml.model"])
    writer.add_token_list(demo["tokenizer.ggml.tokens"])
    writer.add_token_scores(demo["tokenizer.ggml.scores"])
    writer.add_token_types(demo["tokenizer.ggml.token_type"])
    vocabulary = len(demo["tokenizer.ggml.tokens"])
    shapes = {"token_embd.weight": (vocabulary, width), "output.weight": (vocabulary, width)}
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {f"{block}attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}ffn_{name}.weight": (hidden, width) for name in ("gate", "up")}
        shapes[f"{block}ffn_down.weight"] = (width, hidden)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{name}.weight", np.ones(width, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for name, shape in shapes.items():
        writer.add_tensor(name, random_weights(numbers, shape, kind), raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_weights(numbers: np.random.Generator, shape: tuple[int, int], kind: str) -> Any:
    """Weights of a format, small enough for the sums to stay finite."""
    if kind == "f16":
        return numbers.normal(0, 0.02, shape).astype(np.float16)
    block, size = gguf.GGML_QUANT_SIZES[TYPES[kind]]
    rows, columns = shape
    data = numbers.integers(0, 256, (rows, columns // block, size), dtype=np.uint8)
    scale = np.frombuffer(np.float16(0.0003).tobytes(), np.uint8)
    data[:, :, SCALES[kind] : SCALES[kind] + 2] = scale
    return data.reshape(rows, -1)


def main(out: Path) -> list[dict[str, Any]]:
    """Estimate, run and compare; the models are kept in `out` only while that takes."""
    with tempfile.TemporaryDirectory(dir=out) as folder:
        os.environ["MODELPLUG_HOME"] = str(Path(folder) / "home")
        paths = [Path(folder) / f"{layers}x{width}-{kind}.gguf" for layers, width, kind in SHAPES]
        for path, shape in zip(paths, SHAPES, strict=True):
            write_model(path, *shape)
        estimates = []
        for path in paths:
            estimates.append(estimate_of(path))
            run(path)
        for _ in range(ROUNDS - 1):
            for path in paths:
                run(path)
        speeds = [statistics.median(speeds_of(path)) for path in paths]
        noise = statistics.median(disagreement(speeds_of(path)) for path in paths)
        outcomes = [
            outcome_of(path.stem, estimate, speed)
            for path, estimate, speed in zip(paths, estimates, speeds, strict=True)
        ]
        again = list(cross_checked(paths, speeds))
    for title, found in (("before the first run:", outcomes), ("from the nine others:", again)):
        print(f"   {title}")
        for outcome in found:
            print(describe(outcome), flush=True)
    print(f"   the halves of a model's own runs differ by {noise:.1f} % (median of the ten)")
    errors = [outcome.error for outcome in again if outcome.error is not None]
    later = [outcome.error for outcome in outcomes[5:] if outcome.error is not None]
    return [
        {
            "name": "median error of an estimate from nine other models",
            "value": statistics.median(errors),
            "threshold": 20.0,
            "better": "lower",
            "unit": "%",
        },
        {
            "name": "estimates of ten whose interval held what was measured",
            "value": float(sum(outcome.inside for outcome in again)),
            "threshold": 8.0,
            "better": "higher",
            "unit": "models",
        },
        {
            "name": "median error of the estimates of the sixth to tenth model, before their first run",
            "value": statistics.median(later),
            "threshold": 30.0,
            "better": "lower",
            "unit": "%",
        },
    ]


def wishes() -> dict[str, Any]:
    """How every model is run."""
    return {"backend": ENGINE, "threads": THREADS, "context_size": CONTEXT, "gpu_layers": 0}


def estimate_of(path: Path) -> Any:
    """What is expected of a model now."""
    return BackendSelector(modelplug.Runtime()).get_recommendation(str(path), **wishes()).performance_estimate


def run(path: Path) -> None:
    """One session with a few requests, which the history keeps."""
    params = modelplug.GenerateParams(max_tokens=TOKENS, temperature=0.0)
    with modelplug.load(path, **wishes()) as model:
        for number in range(REQUESTS):
            # A prompt of its own each time: nothing of it is in the engine's cache.
            model.complete(f"{number} lines:", params)


def speeds_of(path: Path) -> list[float]:
    """The speed of every request to a model, in the order in which they were made."""
    runtime = modelplug.Runtime()
    runs = runtime.history.runs(fingerprint=inspected(path, runtime).fingerprint, limit=None)
    return [speed for one in reversed(runs) if (speed := one.tokens_per_second) is not None]


def disagreement(speeds: list[float]) -> float:
    """By how much one half of a model's requests misses the other, in percent: no estimate can do better."""
    half = len(speeds) // 2
    return 100 * abs(statistics.median(speeds[:half]) / statistics.median(speeds[half:]) - 1)


def cross_checked(paths: list[Path], speeds: list[float]) -> Iterator[Outcome]:
    """Each model, estimated from the runs of all others."""
    runtime = modelplug.Runtime()
    selector = BackendSelector(runtime)
    for path, speed in zip(paths, speeds, strict=True):
        info = inspected(path, runtime)
        plan = selector.get_recommendation(str(path), **wishes()).plans[0]
        estimate = estimate_plan(
            info,
            runtime.backends.reports()[ENGINE],
            plan,
            Others(runtime.history, info.fingerprint),  # type: ignore[arg-type]
            bandwidth=runtime.system.memory.bandwidth,
            context_bytes=memory_need(info, context_size=CONTEXT).kv,
            machine=machine_of(runtime),
        )
        yield outcome_of(path.stem, estimate, speed)


@attrs.frozen
class Others:
    """A history that has never seen one model."""

    history: Any
    unseen: str

    def measurements(self, backend: str, device: str, **rest: Any) -> list[Any]:
        """The runs of all other models."""
        runs = self.history.measurements(backend, device, **rest)
        return [run for run in runs if run.fingerprint != self.unseen]


def outcome_of(label: str, estimate: Any, measured: float) -> Outcome:
    """What was expected and what was measured, together."""
    if estimate is None or isinstance(estimate, str):
        return Outcome(label, "none", None, False, measured)
    inside = bool(estimate.low <= measured <= estimate.high)
    return Outcome(label, estimate.basis, estimate.tokens_per_second, inside, measured)


def describe(outcome: Outcome) -> str:
    """A line for people."""
    if outcome.expected is None:
        return f"   {outcome.label:<14} {outcome.measured:8.1f} tokens/s, nothing expected"
    return (
        f"   {outcome.label:<14} {outcome.measured:8.1f} tokens/s, {outcome.basis} {outcome.expected:8.1f}: "
        f"{outcome.error:5.1f} %{'' if outcome.inside else ', outside its interval'}"
    )
