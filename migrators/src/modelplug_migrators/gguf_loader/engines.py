"""The engines that settings are translated for: their names in each layout, and what their sections hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelplug_migrators.gguf_loader.values import Setting, flag, one_of, text, texts, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENGINES", "KV_TYPES", "NAMES_IN_1", "NAMES_IN_2", "engine_named", "settings_of", "without_use"]

KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")

# What every section may hold. A test compares these tables with the classes of the installed plugins.
_COMMON: dict[str, Setting] = {
    "enabled": flag(),
    "gpu_enabled": flag(),
    "gpu_layers": whole(-1),
    "context_size": whole(1),
    "batch_size": whole(1),
    "threads": whole(1),
}
_MAPPED_FILE: dict[str, Setting] = {"use_mmap": flag(), "use_mlock": flag()}

ENGINES: dict[str, dict[str, Setting]] = {
    "ctransformers": {
        **_COMMON,
        **_MAPPED_FILE,
        "batch_size": whole(1, 512),
        "model_type": one_of(
            "dolly-v2",
            "falcon",
            "gpt2",
            "gptj",
            "gpt-neox",
            "llama",
            "mpt",
            "replit",
            "starcoder",
            nullable=True,
        ),
        "library": one_of("avx2", "avx", "basic", nullable=True),
    },
    "llamacpp": {
        **_COMMON,
        **_MAPPED_FILE,
        "ubatch_size": whole(1),
        "kv_type": one_of(*KV_TYPES),
        "flash_attention": flag(nullable=True),
        "parallel": whole(1, 64, nullable=False),
        "warmup": flag(),
    },
    "llamafile": {
        **_COMMON,
        **_MAPPED_FILE,
        "executable": text(),
        "gpu": one_of("auto", "nvidia", "amd", "apple", "vulkan", "disable"),
        "server": one_of("auto", "v1", "v2"),
        "arguments": texts(),
    },
    "transformers": {
        **{name: setting for name, setting in _COMMON.items() if name != "gpu_layers"},
        "device_map": Setting(kind="devices", nullable=True),
        "dtype": one_of("auto", "float32", "float16", "bfloat16", nullable=True),
        "torch_dtype": one_of("auto", "float32", "float16", "bfloat16", nullable=True),
        "trust_remote_code": flag(),
    },
}
"""Engine -> what its section of modelplug's settings holds."""

NAMES_IN_1 = {"llamacpp": "llama-cpp-python"}
NAMES_IN_2 = {"llamacpp": "llama_cpp_python"}
"""What an engine is called in the layouts 1 and 2, where that is not its name in modelplug."""

_ALIASES = {
    "llamacpp": "llamacpp",
    "llamacpppython": "llamacpp",
    "llama": "llamacpp",
    "ctransformers": "ctransformers",
    "transformers": "transformers",
    "huggingface": "transformers",
    "llamafile": "llamafile",
}

_WITHOUT_USE = {
    "priority": "the fallback order says which backend comes first",
    "supported_formats": "each backend says itself which formats it loads",
    "metal_enabled": "no backend has a switch for Metal: its build has Metal or not",
    "custom_args": "modelplug passes no arguments on that it does not know",
    "gpu_layers": "transformers does not count layers; device_map says where they go",
}


def engine_named(name: object) -> str:
    """The engine that a name means, in any spelling there was; empty if it is none of these."""
    return _ALIASES.get(re.sub(r"[-_. ]+", "", name.lower()), "") if isinstance(name, str) else ""


def settings_of(engine: str) -> Mapping[str, Setting]:
    """What the section of an engine holds; nothing for one that is not known here."""
    return ENGINES.get(engine, {})


def without_use(engine: str, name: str) -> str:
    """Why a section has no use for a name, for the account."""
    return _WITHOUT_USE.get(name, f"no effect on {engine}: it has no such setting")
