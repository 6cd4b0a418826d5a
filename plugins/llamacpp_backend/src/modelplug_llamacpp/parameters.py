"""Turns a load request into llama.cpp's own parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xllamacpp

from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError
from modelplug_llamacpp.settings import LlamaCppSettings

__all__ = ["DEFAULT_BATCH_SIZE", "context_per_request", "native_parameters"]

DEFAULT_BATCH_SIZE = 2048
"""The engine's own number of prompt tokens per call."""


def native_parameters(request: LoadRequest, settings: LlamaCppSettings, devices: list[str], key: str) -> Any:
    """The parameters of llama.cpp's server for this request.

    Args:
        request: What to load.
        settings: The plugin's settings.
        devices: The ids of the GPUs the engine can use, in its own order.
        key: The key that the server is to demand of its clients.
    """
    params = xllamacpp.CommonParams()
    params.model.path = _native_path(request.path)
    params.n_ctx = request.context_size
    params.n_parallel = settings.parallel
    params.n_batch = settings.batch_size or DEFAULT_BATCH_SIZE
    params.n_ubatch = settings.ubatch_size or min(512, params.n_batch)
    params.cpuparams.n_threads = request.threads
    params.cpuparams_batch.n_threads = request.threads
    params.load_mode = _load_mode(settings)
    kv_type = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{settings.kv_type.upper()}")
    params.cache_type_k = kv_type
    params.cache_type_v = kv_type
    params.flash_attn_type = _flash_attention(settings)
    params.warmup = settings.warmup
    _place(params, request, devices)
    _serve_privately(params, key)
    if request.embeddings:
        params.embedding = True
        if params.pooling_type == xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_UNSPECIFIED:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return params


def context_per_request(request: LoadRequest, settings: LlamaCppSettings) -> int:
    """Tokens that one request may use: the engine divides the context among parallel requests."""
    return request.context_size // settings.parallel


def _native_path(path: Path) -> str:
    """The path as llama.cpp takes it, which is UTF-8 whatever this machine's locale is."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackendError(
            "llama.cpp can't open a file of this name",
            backend="llamacpp",
            phase="load",
            cause="unsupported",
            why=f"the path {os.fsencode(path)!r} is not UTF-8",
            advice="Rename the file, or the folder it is in.",
        ) from error


def _place(params: Any, request: LoadRequest, devices: list[str]) -> None:
    layers = (request.info.layers or 0) + 1
    params.n_gpu_layers = layers if request.gpu_layers < 0 else request.gpu_layers
    # Selection has decided what fits; the engine must not change it behind our back.
    params.fit_params = False
    if request.device in devices:
        params.main_gpu = devices.index(request.device)
        params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE


def _serve_privately(params: Any, key: str) -> None:
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [key]
    params.port = 0
    # Errors, which reach the user when something fails; more would fill an embedder's own stderr.
    params.verbosity = 1
    params.ui = False
    # A copy of earlier contexts in up to 8 GiB of main memory, which no estimate of ours counts.
    params.cache_ram_mib = 0
    params.offline = True
    params.n_threads_http = max(4, params.n_parallel + 2)
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE


def _load_mode(settings: LlamaCppSettings) -> Any:
    modes = xllamacpp.llama_load_mode
    if settings.use_mlock:
        return modes.LLAMA_LOAD_MODE_MMAP_MLOCK if settings.use_mmap else modes.LLAMA_LOAD_MODE_MLOCK
    return modes.LLAMA_LOAD_MODE_MMAP if settings.use_mmap else modes.LLAMA_LOAD_MODE_NONE


def _flash_attention(settings: LlamaCppSettings) -> Any:
    types = xllamacpp.llama_flash_attn_type
    if settings.flash_attention is None:
        return types.LLAMA_FLASH_ATTN_TYPE_AUTO
    if settings.flash_attention:
        return types.LLAMA_FLASH_ATTN_TYPE_ENABLED
    return types.LLAMA_FLASH_ATTN_TYPE_DISABLED
