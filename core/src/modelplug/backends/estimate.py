"""How fast a plan should generate: from runs on this machine where there are any, else from bytes per token.

Runs of the model itself come first. Without any, those of other models tell what the engine takes for a byte,
a weight and a layer (`learned`). What follows is for an engine that has hardly run anything here yet.

A prediction rests on one fact: to generate a token, an engine reads every weight that takes part, and the
keys and values of the context, once. So memory bandwidth divided by those bytes bounds the speed. Engines
reach between a third of the bound (quantisations that take much arithmetic to unpack, few cores) and all of
it; 0.7 is the middle of that range. Each token also has a fixed cost whatever the size of the model: from
some microseconds, in an engine of native code, to milliseconds per layer in one that runs layer by layer from
Python. It is what decides the speed of tiny models. And a model small enough for the processor's cache is not
read from memory at all. The interval covers all of this, and is therefore wide for tiny models. It is a
prediction for the CPU: nothing here measures the bandwidth of a GPU's own memory.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from modelplug.backends.learned import Work, learn, samples_of
from modelplug.backends.types import Estimate
from modelplug.history.records import machine_name
from modelplug.history.samples import summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.types import BackendReport, LoadPlan
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import HistoryStore, RunRecord
    from modelplug.runtime import Runtime

__all__ = [
    "bytes_per_token",
    "estimate_plan",
    "learned",
    "machine_of",
    "measured",
    "predicted",
    "weights_per_token",
]

EXPECTED_SHARE, LOW_SHARE = 0.7, 0.3
# Seconds per token: expected, least, and most as a part for all models and one for each layer.
FIXED_COST, LEAST_FIXED_COST = 150e-6, 20e-6
MOST_FIXED_COST, MOST_COST_PER_LAYER = 2e-3, 1.5e-3
# Below this, the model may live in the processor's last cache, whose bandwidth is several times the memory's.
CACHE_SIZE = 32 * 1024 * 1024
CACHE_GAIN = 5.0
# What a weight and a layer are taken to cost until an engine has shown it: a part of what reading a byte
# costs, and seconds.
WEIGHT_COST, LAYER_COST = 0.25, 5e-6


def machine_of(runtime: Runtime) -> str:
    """What figures measured on this machine have in common."""
    cpu = runtime.system.cpu
    return machine_name(cpu.model, cpu.usable_cores)


def measured(samples: Sequence[float], settings: str = "with these settings") -> Estimate | None:
    """The estimate that earlier runs on this machine give; None without any.

    From six runs on, the interval is a 95 % confidence interval of the median by order statistics. With
    fewer there is no such interval: it then spans the runs, and 10 % on either side.

    Args:
        samples: Tokens per second of each run.
        settings: With what settings they ran, for people.
    """
    found = summarise(samples)
    if found is None:
        return None
    runs = "1 run" if found.count == 1 else f"{found.count} runs"
    return Estimate(
        tokens_per_second=found.median,
        low=found.low,
        high=found.high,
        basis="measured",
        detail=f"median of {runs} of this model {settings} on this machine",
    )


def bytes_per_token(info: ModelInfo, report: BackendReport) -> tuple[float, float]:
    """Bytes of weights read for one token: (expected, at most).

    They differ for a mixture of experts only, where each token goes through some of them. The header says how
    many, but not which tensors are the experts'; nearly all of a layer's bytes are, so the expected figure
    takes a tenth of each layer to be shared.

    Args:
        info: The model.
        report: The backend, which may unpack the weights while loading.
    """
    weights = info.weights
    layers = float(sum(weights.layers))
    head = float(weights.output + (weights.token_embedding if weights.tied_embedding else 0))
    most = layers + head + weights.other
    if layers == 0:
        # The tensors have no names that tell layers from embeddings: everything, as the upper bound.
        most = float(weights.total or info.size)
    share = _active_share(info)
    expected = most - layers * (1 - share)
    scale = _unpacking(info, report)
    return expected * scale, most * scale


def weights_per_token(info: ModelInfo, report: BackendReport) -> tuple[float | None, float | None]:
    """Bytes and number of the weights read for one token, as expected; None for what is not known.

    Args:
        info: The model.
        report: The backend, which may unpack the weights while loading.
    """
    expected, _ = bytes_per_token(info, report)
    stored = info.weights.total or info.size
    if expected <= 0 or stored <= 0:
        return None, None
    count = (
        info.parameters * expected / (stored * _unpacking(info, report))
        if info.parameters and stored
        else None
    )
    return expected, count


def _active_share(info: ModelInfo) -> float:
    used = info.metadata.get(f"{info.architecture}.expert_used_count")
    if (
        not info.experts
        or isinstance(used, bool)
        or not isinstance(used, int)
        or not 0 < used <= info.experts
    ):
        return 1.0
    return 0.1 + 0.9 * used / info.experts


def _unpacking(info: ModelInfo, report: BackendReport) -> float:
    stored = info.weights.total or info.size
    if report.dequantises is None or not info.parameters or not stored:
        return 1.0
    return info.parameters * report.dequantises / stored


def predicted(
    info: ModelInfo, report: BackendReport, *, bandwidth: float, context_bytes: int
) -> Estimate | None:
    """The estimate for the CPU from bytes per token and memory bandwidth; None without a size.

    Args:
        info: The model.
        report: The backend.
        bandwidth: Bytes per second that this machine reads from memory.
        context_bytes: Bytes of keys and values when the context is full.
    """
    expected, most = bytes_per_token(info, report)
    if most <= 0 or bandwidth <= 0:
        return None
    # Half of the context is the average over a generation that fills it: an empty one reads none of it.
    reads = expected + context_bytes / 2
    fastest = bandwidth * (CACHE_GAIN if expected <= CACHE_SIZE else 1.0)
    speed = 1 / (reads / (EXPECTED_SHARE * bandwidth) + FIXED_COST)
    slowest_cost = MOST_FIXED_COST + MOST_COST_PER_LAYER * (info.layers or 0)
    low = 1 / ((most + context_bytes) / (LOW_SHARE * bandwidth) + slowest_cost)
    high = 1 / (expected / fastest + LEAST_FIXED_COST)
    detail = (
        f"predicted, never measured: {reads / 1e9:.3g} GB read per token at a memory bandwidth of "
        f"{bandwidth / 1e9:.3g} GB/s"
    )
    if reads / bandwidth < slowest_cost / 4:
        detail += "; for a model this small the engine's own cost per token decides, which is not known"
    return Estimate(
        tokens_per_second=speed,
        low=min(low, speed),
        high=max(high, speed),
        basis="predicted",
        detail=detail,
    )


def learned(
    info: ModelInfo,
    report: BackendReport,
    plan: LoadPlan,
    runs: Sequence[RunRecord],
    *,
    bandwidth: float | None,
    context_bytes: int,
    machine: str,
) -> Estimate | None:
    """The estimate from other models that this engine has run here; None if there are too few of them.

    Args:
        info: The model.
        report: The backend.
        plan: The plan; all layers on its device, or none.
        runs: Earlier runs of this engine on this device, newest first.
        bandwidth: Bytes per second that this machine reads from memory; None if never measured, or if the
            memory is a GPU's own.
        context_bytes: Bytes of keys and values when the context is full.
        machine: The processor, as `machine_name` spells it.
    """
    weight_bytes, weight_count = weights_per_token(info, report)
    samples = samples_of(runs, machine=machine, threads=plan.threads)
    if weight_bytes is None or not samples:
        return None
    depth = statistics.median(sample.depth for sample in samples)
    work = Work(
        bytes=weight_bytes + depth * context_bytes / plan.context_size,
        weights=weight_count or weight_bytes,
        layers=float(info.layers or 0),
    )
    expected = None
    if bandwidth is not None:
        byte = 1 / (EXPECTED_SHARE * bandwidth)
        expected = Work(bytes=byte, weights=byte * WEIGHT_COST, layers=LAYER_COST)
    found = learn(work, samples, expected, FIXED_COST)
    if found is None:
        return None
    speed, width = 1 / found.seconds, math.exp(2 * found.spread)
    return Estimate(
        tokens_per_second=speed,
        low=speed / width,
        high=speed * width,
        basis="learned",
        detail=(
            f"learned from {found.runs} runs of {found.models} other models with this engine on this "
            f"machine, with about {depth:.0f} tokens of context; its error should be about "
            f"{100 * found.spread:.0f} %"
        ),
    )


def estimate_plan(
    info: ModelInfo,
    report: BackendReport,
    plan: LoadPlan,
    history: HistoryStore,
    *,
    bandwidth: float | None,
    context_bytes: int,
    machine: str = "",
) -> Estimate | None:
    """The expected speed of a plan: measured, learned from other models, or predicted; None without a basis.

    Args:
        info: The model.
        report: The backend.
        plan: The plan.
        history: Earlier runs on this machine.
        bandwidth: Bytes per second that this machine reads from memory; None if never measured.
        context_bytes: Bytes of keys and values when the context is full.
        machine: The processor, as `machine_name` spells it; runs on others do not count.
    """
    if info.fingerprint:
        own = history.measurements(plan.backend, plan.device, fingerprint=info.fingerprint, each=100)
        here = _same_place(info, plan, own, machine)
        same = [run for run in here if run.threads == plan.threads]
        settings = "with these settings" if same else "with another number of threads"
        known = measured(_speeds(same or here), settings)
        if known is not None:
            return known
    on_cpu = plan.gpu_layers == 0
    if on_cpu or plan.gpu_layers < 0:
        every = history.measurements(plan.backend, plan.device)
        others = [run for run in every if run.fingerprint != info.fingerprint and _is_whole(run) != on_cpu]
        guess = learned(
            info,
            report,
            plan,
            others,
            bandwidth=bandwidth if on_cpu else None,
            context_bytes=context_bytes,
            machine=machine,
        )
        if guess is not None:
            return guess
    if bandwidth is None or not on_cpu:
        return None
    return predicted(info, report, bandwidth=bandwidth, context_bytes=context_bytes)


def _is_whole(run: RunRecord) -> bool:
    """Whether all layers were on the device; the output may or may not have been counted as one."""
    return run.gpu_layers < 0 or 0 < (run.layers or 0) <= run.gpu_layers


def _same_place(info: ModelInfo, plan: LoadPlan, runs: Sequence[RunRecord], machine: str) -> list[RunRecord]:
    """The runs of the model in the place where the plan puts it."""
    from modelplug.formats.memory import offloadable_layers

    counts = {plan.gpu_layers}
    if plan.gpu_layers < 0:
        # An engine may have reported "all" as a number, with or without the output counted as a layer.
        counts |= {offloadable_layers(info), offloadable_layers(info) - 1}
    return [run for run in runs if run.gpu_layers in counts and run.machine in ("", machine)]


def _speeds(runs: Sequence[RunRecord]) -> list[float]:
    return [speed for run in runs if (speed := run.tokens_per_second) is not None]
