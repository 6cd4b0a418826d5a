"""The settings of models before 1.0, and what became of each."""

from __future__ import annotations

__all__ = ["CURRENT", "DEFAULTS_CHANGED", "DEPENDENT", "DROPPED", "POSITIONAL", "RENAMED"]

POSITIONAL = ("vocab_size", "d_model", "n_layers", "n_seq", "num_experts", "top_k", "dropout_p")
"""The order of positional arguments that all versions of `LanguageModel` had in common."""

CURRENT = frozenset(
    {
        "act_halt_threshold", "batch_size", "bos_token_id", "clark_measure_weight", "complex_heads",
        "conv_kernel", "copy_key_dim", "d_model", "diagonal_heads", "dropout", "eos_token_id", "epsilon",
        "epsilon_schedule",
        "expand", "feed_forward", "free_heads", "grad_blend", "gradient_checkpointing", "head_bias",
        "hidden_size", "initializer_range", "intermediate_size", "k_max", "key_dim", "learning_rate",
        "low_rank", "mixed_precision", "mixer", "n_layers", "n_seq", "norm", "norm_eps", "num_experts",
        "num_hidden_layers", "pad_token_id", "parallel_feed_forward", "position_embeddings",
        "potential_limit", "precision_upgrade_threshold", "prime_bump_scale", "schatten_threshold",
        "tie_word_embeddings", "top_k", "use_act", "use_cache", "use_clark_measure", "use_cpu_offload",
        "use_lap", "use_mourre", "use_prime_bump", "use_scattering_router", "use_semiseparable", "value_dim",
        "vocab_size",
    }
)  # fmt: skip
"""The settings there are."""

RENAMED = {
    "act_threshold": "act_halt_threshold",
    "adaptive_computation": "use_act",
    "cpu_offload": "use_cpu_offload",
    "dropout_p": "dropout",
    "enable_adaptive_computation": "use_act",
    "enable_gradient_checkpointing": "gradient_checkpointing",
    "halt_threshold_low": "act_halt_threshold",
    "lr": "learning_rate",
    "max_seq_len": "n_seq",
    "max_seq_length": "n_seq",
    "n_layer": "n_layers",
    "num_layers": "n_layers",
    "prime_bump_init": "use_prime_bump",
    "semiseparable_rank": "low_rank",
    "seq_len": "n_seq",
    "seq_length": "n_seq",
    "use_adaptive_computation": "use_act",
    "use_gradient_checkpointing": "gradient_checkpointing",
    "use_mixed_precision": "mixed_precision",
}
"""Older name -> today's."""

DROPPED = frozenset(
    {
        "scattering_scale", "scattering_scale_warmup_steps", "use_analytic_gradient",
        "use_birman_schwinger", "use_custom_kernels", "use_fused_moe_kernel", "use_triton_kernel",
        "triton_kernel_version",
    }
)  # fmt: skip
"""Chose between implementations, or had no effect on what a model computes."""

DEPENDENT = {
    "symplectic_dt": "use_symplectic",
    "symplectic_mode": "use_symplectic",
    "hyperbolic_window_size": "use_hybrid_attention",
    "num_heads": "use_hybrid_attention",
    "hyperbolic_router_curvature": "use_hyperbolic_router",
    "hyperbolic_router_boundary": "use_hyperbolic_router",
    "htt_rank": "use_htt_embedding",
    "quantization_bits": "use_quantization",
    "koopman_dim": "use_koopman",
    "prune_threshold": "use_pruning",
}
"""Setting -> the switch without which it means nothing."""

DEFAULTS_CHANGED = {
    "d_model": "64 -> 256",
    "n_layers": "4 -> 8",
    "n_seq": "128 -> 2048",
    "num_experts": "4 -> 0",
    "dropout": "0.1 -> 0",
}
"""Settings of `LanguageModel` whose defaults are others in `MambaKillerConfig`."""
