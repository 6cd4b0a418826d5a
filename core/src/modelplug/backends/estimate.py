"""How fast a plan should generate: from runs on this machine where there are any, else from bytes per token.

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

from modelplug.backends.types import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.backends.types import BackendReport, LoadPlan
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import HistoryStore

__all__ = ["bytes_per_token", "estimate_plan", "measured", "predicted"]

EXPECTED_SHARE, LOW_SHARE = 0.7, 0.3
# Seconds per token: expected, least, and most as a part for all models and one for each layer.
FIXED_COST, LEAST_FIXED_COST = 150e-6, 20e-6
MOST_FIXED_COST, MOST_COST_PER_LAYER = 2e-3, 1.5e-3
# Below this, the model may live in the processor's last cache, whose bandwidth is several times the memory's.
CACHE_SIZE = 32 * 1024 * 1024
CACHE_GAIN = 5.0


def measured(samples: Sequence[float]) -> Estimate | None:
    """The estimate that earlier runs on this machine give; None without any.

    From six runs on, the interval is a 95 % confidence interval of the median by order statistics. With
    fewer there is no such interval: it then spans the runs, and 10 % on either side.

    Args:
        samples: Tokens per second of each run.
    """
    values = sorted(value for value in samples if math.isfinite(value) and value > 0)
    if not values:
        return None
    middle = statistics.median(values)
    low, high = _median_interval(values)
    runs = "1 run" if len(values) == 1 else f"{len(values)} runs"
    return Estimate(
        tokens_per_second=middle,
        low=low,
        high=high,
        basis="measured",
        detail=f"median of {runs} of this model with these settings on this machine",
    )


def _median_interval(values: list[float]) -> tuple[float, float]:
    count = len(values)
    if count < 6:
        return 0.9 * values[0], 1.1 * values[-1]
    # The median lies between the k-th lowest and the k-th highest value unless fewer than k of `count` fair
    # coins show heads, or fewer than k show tails.
    tail, below = 0.0, 0
    for k in range(count // 2):
        tail += math.comb(count, k) * 0.5**count
        if 2 * tail > 0.05:
            break
        below = k
    return values[below], values[count - 1 - below]


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


def estimate_plan(
    info: ModelInfo,
    report: BackendReport,
    plan: LoadPlan,
    history: HistoryStore,
    *,
    bandwidth: float | None,
    context_bytes: int,
) -> Estimate | None:
    """The expected speed of a plan: measured if it ran here before, else predicted; None without a basis.

    Args:
        info: The model.
        report: The backend.
        plan: The plan.
        history: Earlier runs on this machine.
        bandwidth: Bytes per second that this machine reads from memory; None if never measured.
        context_bytes: Bytes of keys and values when the context is full.
    """
    if info.fingerprint:
        known = measured(_samples(info, plan, history))
        if known is not None:
            return known
    if bandwidth is None or plan.gpu_layers != 0:
        return None
    return predicted(info, report, bandwidth=bandwidth, context_bytes=context_bytes)


def _samples(info: ModelInfo, plan: LoadPlan, history: HistoryStore) -> list[float]:
    """Tokens per second of every earlier run of the model in the place where the plan puts it."""
    from modelplug.formats.memory import offloadable_layers

    counts = {plan.gpu_layers}
    if plan.gpu_layers < 0:
        # An engine may have reported "all" as a number, with or without the output counted as a layer.
        counts |= {offloadable_layers(info), offloadable_layers(info) - 1}
    samples: list[float] = []
    for count in sorted(counts):
        samples += history.speeds(info.fingerprint, plan.backend, device=plan.device, gpu_layers=count)
    return samples
