"""Recognises settings files of older programs, which `migrate` can bring over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["legacy_evidence"]

_LLAMA_KEYS = frozenset(
    {
        "n_gpu_layers", "n_ctx", "n_batch", "n_ubatch", "n_threads", "n_threads_batch", "n_gqa", "n_parts",
        "f16_kv", "low_vram", "mul_mat_q", "last_n_tokens_size", "vocab_only", "logits_all", "offload_kqv",
    }
)  # fmt: skip
_APPLICATION_KEYS = frozenset({"ai_settings", "use_hardware_acceleration", "window_size", "window_position"})
_SECTION_KEYS = frozenset({"backend_configs", "custom_fallback_order", "hardware_overrides", "preferences"})
_FIRST_NAMES = frozenset({"backend_preference", "model_directory", "addon_settings"})


def legacy_evidence(values: Mapping[str, Any]) -> str:
    """Why a file looks like one of an older program; empty if it does not.

    Args:
        values: What the file holds.
    """
    for keys, meaning in (
        (_LLAMA_KEYS, "the names are those of llama-cpp-python"),
        (_SECTION_KEYS, "the layout is that of an older backend configuration"),
        (_APPLICATION_KEYS, "the names are those of an older application's settings"),
        (_FIRST_NAMES, "the names are those of an older application's settings"),
    ):
        found = [key for key in values if key in keys]
        if found and not ("backends" in values and keys is _LLAMA_KEYS):
            return f"{meaning} ({', '.join(found[:4])})"
    if isinstance(values.get("version"), str):
        return f"its version is the text {values['version']!r}, as older programs wrote it"
    return ""
