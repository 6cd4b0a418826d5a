"""How much memory a model needs for a given context, KV type and number of layers on the GPU.

Weights are exact, from the tensor table. The KV cache is exact or an upper bound (`kv_cache`). Compute
buffers and the driver's own memory are estimates, given as a range from least to most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import UsageError
from modelplug.formats.kv_cache import kv_cache

if TYPE_CHECKING:
    from modelplug.formats.kv_cache import LayerCache
    from modelplug.formats.model_info import LayerSizes, ModelInfo

__all__ = ["ALL_LAYERS", "DEVICE_OVERHEAD", "MIB", "MemoryNeed", "memory_need", "offloadable_layers"]

MIB: Final = 1 << 20
ALL_LAYERS: Final = -1
DEVICE_OVERHEAD: Final = (300 * MIB, 600 * MIB)
"""Bytes that a CUDA context takes by itself, least and most."""

_HOST_OVERHEAD: Final = (0, 64 * MIB)


@attrs.frozen(kw_only=True)
class MemoryNeed:
    """What running a model takes, in bytes, on the host and on one GPU.

    Attributes:
        context_size: Tokens it was computed for.
        gpu_layers: Layers on the GPU, the output counted as one (so at most repeating layers + 1).
        weights_host: Weights in main memory.
        weights_gpu: Weights on the GPU.
        kv_host: KV cache in main memory, the most it can be.
        kv_gpu: KV cache on the GPU, the most it can be.
        kv_host_low: KV cache in main memory, the least it can be.
        kv_gpu_low: KV cache on the GPU, the least it can be.
        kv_exact: Whether least and most are the same because the header determines the size.
        compute_host_low: Least for buffers in main memory.
        compute_host_high: Most for buffers in main memory.
        compute_gpu_low: Least for buffers and driver on the GPU.
        compute_gpu_high: Most for buffers and driver on the GPU.
        notes: What makes the figures less than exact.
    """

    context_size: int
    gpu_layers: int = 0
    weights_host: int = 0
    weights_gpu: int = 0
    kv_host: int = 0
    kv_gpu: int = 0
    kv_host_low: int = 0
    kv_gpu_low: int = 0
    kv_exact: bool = True
    compute_host_low: int = 0
    compute_host_high: int = 0
    compute_gpu_low: int = 0
    compute_gpu_high: int = 0
    notes: tuple[str, ...] = ()

    @property
    def kv(self) -> int:
        """The whole KV cache, the most it can be."""
        return self.kv_host + self.kv_gpu

    @property
    def host_low(self) -> int:
        """The least main memory it takes."""
        return self.weights_host + self.kv_host_low + self.compute_host_low

    @property
    def host_high(self) -> int:
        """The most main memory it takes."""
        return self.weights_host + self.kv_host + self.compute_host_high

    @property
    def gpu_low(self) -> int:
        """The least GPU memory it takes."""
        return self.weights_gpu + self.kv_gpu_low + self.compute_gpu_low

    @property
    def gpu_high(self) -> int:
        """The most GPU memory it takes."""
        return self.weights_gpu + self.kv_gpu + self.compute_gpu_high

    @property
    def total_low(self) -> int:
        """The least memory of both kinds together."""
        return self.host_low + self.gpu_low

    @property
    def total_high(self) -> int:
        """The most memory of both kinds together."""
        return self.host_high + self.gpu_high


def offloadable_layers(info: ModelInfo) -> int:
    """How many layers can be put on a GPU: the repeating ones and the output."""
    return (info.layers or len(info.weights.layers)) + 1


def memory_need(
    info: ModelInfo,
    *,
    context_size: int,
    kv_type: str | tuple[str, str] = "f16",
    gpu_layers: int = 0,
    batch_size: int = 512,
    ubatch: int = 512,
    flash_attention: bool | None = False,
    parallel: int = 1,
    dequantised_bytes_per_parameter: float | None = None,
    device_overhead: tuple[int, int] = DEVICE_OVERHEAD,
) -> MemoryNeed:
    """How much memory running a model takes.

    Args:
        info: The model.
        context_size: Tokens in the context, of all sequences together.
        kv_type: What keys and values are stored in, for example `f16` or `("q8_0", "f16")`.
        gpu_layers: Layers on the GPU, counted from the last one backwards; the output comes after all of
            them. -1 means all.
        batch_size: Tokens of a prompt submitted at once.
        ubatch: Tokens computed at once, at most `batch_size`.
        flash_attention: Whether the engine computes attention without storing all scores; None if it decides
            that itself, which widens the range.
        parallel: Sequences at once.
        dequantised_bytes_per_parameter: For an engine that converts the weights while loading (2 for 16
            bits); None for one that keeps them as they are.
        device_overhead: Least and most bytes a device takes for itself.

    Returns:
        The need, split by place.

    Raises:
        UsageError: A number is out of range or a KV type is unknown.
    """
    _check_numbers(context_size=context_size, batch_size=batch_size, ubatch=ubatch, parallel=parallel)
    step = min(ubatch, batch_size, context_size)
    cache = kv_cache(info, context_size=context_size, kv_type=kv_type, ubatch=step, parallel=parallel)
    compute = _ComputeBuffers(info, context_size, step, flash_attention)
    scale, notes = _conversion(info, dequantised_bytes_per_parameter)
    need = _placed(info, cache, compute, _offloaded(gpu_layers, info), scale, device_overhead)
    return attrs.evolve(need, notes=(*cache.notes, *notes))


def _check_numbers(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(
                f"{name.replace('_', ' ')} is {value}",
                advice=f"Give a {name.replace('_', ' ')} of at least 1.",
            )


def _offloaded(gpu_layers: int, info: ModelInfo) -> int:
    if gpu_layers < ALL_LAYERS:
        raise UsageError(
            f"the number of GPU layers is {gpu_layers}", advice="Give -1 (all), 0 (none) or more."
        )
    most = offloadable_layers(info)
    return most if gpu_layers == ALL_LAYERS else min(gpu_layers, most)


def _conversion(info: ModelInfo, bytes_per_parameter: float | None) -> tuple[float, tuple[str, ...]]:
    """By what factor loading makes the weights larger than they are in the file, and what to say about it."""
    if bytes_per_parameter is None:
        return 1.0, ()
    if not info.parameters or not info.weights.total:
        return 1.0, ("the number of parameters is unknown: the weights are counted as stored",)
    scale = info.parameters * bytes_per_parameter / info.weights.total
    return scale, (f"the engine converts the weights to {bytes_per_parameter:g} bytes per parameter",)


def _placed(
    info: ModelInfo,
    cache: LayerCache,
    compute: _ComputeBuffers,
    offloaded: int,
    scale: float,
    device_overhead: tuple[int, int],
) -> MemoryNeed:
    """Weights, cache and buffers, each where it is with so many layers on the GPU."""
    most = offloadable_layers(info)
    weights_host, weights_gpu = _place_weights(info.weights, offloaded, most)
    kv_host, kv_gpu = _split(cache.high, offloaded)
    kv_host_low, kv_gpu_low = _split(cache.low, offloaded)
    host_low, host_high = compute.host(offloaded, most)
    gpu_low, gpu_high = compute.gpu(offloaded, most)
    if offloaded:
        gpu_low += device_overhead[0]
        gpu_high += device_overhead[1] + _output_first_surplus(info.weights, offloaded, most)
    if scale != 1.0:
        # while loading, the largest tensor group exists twice: as it is in the file and converted
        host_high += round(max((*info.weights.layers, info.weights.token_embedding, 0)) * (1 + scale))
    return MemoryNeed(
        context_size=compute.context_size,
        gpu_layers=offloaded,
        weights_host=round(weights_host * scale),
        weights_gpu=round(weights_gpu * scale),
        kv_host=kv_host,
        kv_gpu=kv_gpu,
        kv_host_low=kv_host_low,
        kv_gpu_low=kv_gpu_low,
        kv_exact=cache.exact,
        compute_host_low=host_low + _HOST_OVERHEAD[0],
        compute_host_high=host_high + _HOST_OVERHEAD[1],
        compute_gpu_low=gpu_low,
        compute_gpu_high=gpu_high,
    )


def _place_weights(weights: LayerSizes, offloaded: int, most: int) -> tuple[int, int]:
    if not offloaded:
        return weights.total, 0
    if not weights.layers:  # no layer structure is known: all or nothing
        return 0, weights.total
    on_host, on_gpu = _split(weights.layers, offloaded)
    on_host += weights.token_embedding + weights.other
    if offloaded < most:
        return on_host + weights.output, on_gpu
    on_gpu += weights.output
    if weights.tied_embedding:  # looked up on the host, multiplied with on the GPU
        on_gpu += weights.token_embedding
    return on_host, on_gpu


def _split(layers: tuple[int, ...], offloaded: int) -> tuple[int, int]:
    first = max(0, len(layers) - offloaded)
    return sum(layers[:first]), sum(layers[first:])


def _output_first_surplus(weights: LayerSizes, offloaded: int, most: int) -> int:
    # Some llama.cpp versions place the output before the repeating layers when not all of them are offloaded.
    if offloaded >= most or not weights.layers:
        return 0
    output = weights.output + (weights.token_embedding if weights.tied_embedding else 0)
    return max(0, output - weights.layers[max(0, len(weights.layers) - offloaded)])


class _ComputeBuffers:
    """The scratch buffers of one evaluation step, from the sizes of their largest tensors."""

    def __init__(self, info: ModelInfo, context_size: int, step: int, flash_attention: bool | None) -> None:
        self.context_size = context_size
        width = info.embedding_length or 0
        forward = info.metadata.get(f"{info.architecture}.feed_forward_length")
        forward = forward if isinstance(forward, int) else 4 * width
        scores = (info.heads or 0) * context_size * step * 4
        self.scores_low = scores if flash_attention is False else 0
        self.scores_high = 0 if flash_attention else scores
        self.logits = (info.vocabulary_size or 0) * step * 4
        self.activations = step * (2 * width + 3 * forward) * 4
        self.inputs = step * (context_size + width) * 4

    def _range(self, attention: bool, output: bool) -> tuple[int, int]:
        logits = self.logits if output else 0
        low = max(self.scores_low if attention else 0, logits)
        high = max(self.scores_high if attention else 0, logits)
        spread = self.activations + self.inputs if attention else 0
        return low, round(high * 1.15) + spread

    def host(self, offloaded: int, most: int) -> tuple[int, int]:
        """Least and most in main memory."""
        low, high = self._range(attention=offloaded < most - 1, output=offloaded < most)
        return low, high + self.inputs

    def gpu(self, offloaded: int, most: int) -> tuple[int, int]:
        """Least and most on the GPU."""
        if not offloaded:
            return 0, 0
        return self._range(attention=True, output=offloaded >= most)
