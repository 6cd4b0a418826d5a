"""The names by which the layouts are told apart."""

from __future__ import annotations

from modelplug_migrators.gguf_loader.llama import CERTAIN, LIKELY

__all__ = [
    "APPLICATION",
    "BACKEND_SET",
    "FIRST",
    "FIRST_BESIDE",
    "FOREIGN",
    "INTERFACE",
    "MISLEADING",
    "MODEL_NOTES",
    "MULTI_BACKEND",
    "PERFORMANCE_CACHE",
    "REPORT",
]

APPLICATION = frozenset(
    {
        "window_size", "window_position", "window_maximized", "default_model_dir", "recent_models",
        "max_recent_models", "use_hardware_acceleration", "max_memory_usage", "default_temperature",
        "default_max_tokens", "default_system_prompt", "ai_settings", "backend_config_path",
        "auto_optimize_backends", "backend_switching_mode", "theme", "log_level", "addon_dir",
    }
)  # fmt: skip
"""Settings of the application."""

FIRST = frozenset({"backend_preference", "gpu_layers", "context_size", "backend", "default_backend"})
"""The first flat configuration."""

FIRST_BESIDE = frozenset(
    {"model_directory", "addon_settings", "theme", "batch_size", "threads", "gpu_enabled"}
)
"""What stands beside these, and by itself says nothing."""

INTERFACE = frozenset(
    {
        "backend.current", "backend.hardware_preference", "backend.gpu_layers", "backend.context_size",
        "backend.batch_size", "window.geometry", "processing_unit", "thread_count", "cpu_threads",
        "cpu_memory_limit", "gpu_memory_limit", "model_parameters", "verify_addons", "sandbox_addons",
        "allow_addon_network", "auto_update_addons",
    }
)  # fmt: skip
"""What the preferences window sets."""

BACKEND_SET = frozenset({"backend_configs", "custom_fallback_order", "hardware_overrides"})
"""What only a `BackendConfigSet` has."""

MULTI_BACKEND = frozenset({"preferred_backend", "backends", "fallback_order", "fallback_enabled"})
"""The multi-backend configuration."""

PERFORMANCE_CACHE = frozenset({"model_profiles", "backend_profiles"})
MODEL_NOTES = frozenset(
    {"file_path", "file_hash", "file_modified_time", "load_type", "hardware_backend", "last_accessed"}
)
REPORT = frozenset({"hardware_info", "performance_stats", "optimization_insights", "cache_summary"})

FOREIGN = frozenset(
    {"model_type", "architectures", "transformers_version", "n_embd", "n_positions", "vocab_size"}
)
"""What configurations of models for other libraries have, and none of this family's files."""

MISLEADING = CERTAIN | LIKELY | INTERFACE | FIRST | BACKEND_SET | {"version"}
"""Names that would make a multi-backend configuration look like an older one."""
