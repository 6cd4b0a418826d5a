"""Settings to start from, for four kinds of machine, with the reason for each line."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["PRESETS", "Preset"]


@attrs.frozen(kw_only=True)
class Preset:
    """Settings for one kind of machine.

    Attributes:
        name: What to call it on the command line.
        title: The kind of machine.
        explanation: Why these settings, in sentences.
        settings: The settings, as the file would hold them.
        comments: Dotted key -> why it has its value.
    """

    name: str
    title: str
    explanation: tuple[str, ...]
    settings: dict[str, Any]
    comments: dict[str, str] = attrs.field(factory=dict)


_AS_MANY = "null: as many layers as fit into the card's free memory; -1 insists on all, 0 uses none"
_NO_ROCM = "its published packages have no build for AMD cards, so layers would silently stay on the CPU"
_NO_METAL = "its published packages for macOS are built without Metal"


def _llamacpp_first(fallback_order: list[str], backends: dict[str, Any]) -> dict[str, Any]:
    """What every kind of machine has in common: llama.cpp, then others, except for what it can't read."""
    return {
        "version": 1,
        "preferred_backend": "llamacpp",
        "fallback_enabled": True,
        "fallback_order": fallback_order,
        "fallback_order_by_format": {"safetensors": ["transformers"], "huggingface": ["transformers"]},
        "backends": backends,
    }


_NVIDIA = Preset(
    name="nvidia",
    title="a machine with an NVIDIA card",
    explanation=(
        "llama.cpp comes first: it runs current GGUF models and can split one between card and CPU.",
        "ctransformers has a build for NVIDIA cards too, but loads only llama and falcon models of 2023.",
        "transformers needs the whole model in 16 bits per weight: about twice the parameters in bytes.",
    ),
    settings=_llamacpp_first(
        ["llamacpp", "llamafile", "transformers", "ctransformers"],
        {
            "llamacpp": {"gpu_enabled": True, "gpu_layers": None},
            "llamafile": {"gpu_enabled": True, "gpu_layers": None},
            "transformers": {"gpu_enabled": True, "device_map": "auto", "torch_dtype": "float16"},
            "ctransformers": {"gpu_enabled": True, "gpu_layers": None},
        },
    ),
    comments={
        "backends.llamacpp.gpu_layers": _AS_MANY,
        "backends.ctransformers.gpu_layers": "-1 means all layers here too; the library itself would read "
        "it as the CPU, and the plugin translates",
        "backends.transformers.torch_dtype": "GGUF files are unpacked to this type, whatever they hold",
    },
)

_AMD = Preset(
    name="amd",
    title="a machine with an AMD card",
    explanation=(
        "llama.cpp comes first: its Vulkan build runs on AMD cards without ROCm.",
        "transformers uses the card where PyTorch was installed for ROCm, and the CPU otherwise.",
        "ctransformers stays on the CPU: there is no build of it for AMD cards.",
    ),
    settings=_llamacpp_first(
        ["llamacpp", "llamafile", "transformers", "ctransformers"],
        {
            "llamacpp": {"gpu_enabled": True, "gpu_layers": None},
            "llamafile": {"gpu_enabled": True, "gpu_layers": None},
            "transformers": {"gpu_enabled": True, "device_map": "auto", "torch_dtype": "float16"},
            "ctransformers": {"gpu_enabled": False},
        },
    ),
    comments={
        "backends.llamacpp.gpu_layers": _AS_MANY,
        "backends.transformers.torch_dtype": "a 13B model takes about 26 GB this way",
        "backends.ctransformers.gpu_enabled": _NO_ROCM,
    },
)

_CPU = Preset(
    name="cpu",
    title="a machine without a usable graphics card",
    explanation=(
        "llama.cpp comes first, llamafile next: both read quantised weights straight from the mapped file.",
        "transformers comes last: it unpacks quantised weights and needs several times the memory.",
    ),
    settings=_llamacpp_first(
        ["llamacpp", "llamafile", "ctransformers", "transformers"],
        {
            "llamacpp": {"gpu_enabled": False, "threads": None},
            "llamafile": {"gpu_enabled": False, "threads": None, "use_mmap": True},
            "ctransformers": {"gpu_enabled": False, "threads": None},
            "transformers": {"gpu_enabled": False, "threads": None},
        },
    ),
    comments={
        "backends.llamacpp.threads": "null: the cores this program may use, which is seldom worth exceeding",
        "backends.llamafile.use_mmap": "the operating system can drop mapped weights when memory gets short",
    },
)

_APPLE = Preset(
    name="apple",
    title="a Mac with Apple silicon",
    explanation=(
        "llama.cpp comes first: its macOS build uses Metal, and the card shares the machine's memory.",
        "llamafile uses Metal too. transformers uses the card through PyTorch's mps device.",
        "ctransformers stays on the CPU: there is no setting that would give its packages Metal.",
    ),
    settings=_llamacpp_first(
        ["llamacpp", "llamafile", "transformers", "ctransformers"],
        {
            "llamacpp": {"gpu_enabled": True, "gpu_layers": None},
            "llamafile": {"gpu_enabled": True, "gpu_layers": None},
            "transformers": {"gpu_enabled": True, "device_map": "auto", "torch_dtype": "float16"},
            "ctransformers": {"gpu_enabled": False},
        },
    ),
    comments={
        "backends.llamacpp.gpu_layers": "null: as many layers as fit Metal's share of the memory; -1: all",
        "backends.ctransformers.gpu_enabled": _NO_METAL,
    },
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (_NVIDIA, _AMD, _CPU, _APPLE)}
"""Every preset by its name."""
