"""Names by which configurations of ResNet-BK are known, and the version that brought each."""

from __future__ import annotations

from modelplug.migration.versions import Version
from modelplug_migrators.resnet_bk.versions import V0_5, V0_6, V0_7, V0_8, V0_9

__all__ = ["BROUGHT", "FOREIGN_MODELS", "KINDS", "SHAPE", "TRAINING", "is_own"]

SHAPE = frozenset({"d_model", "n_layers", "num_layers", "n_layer"})
"""What every configuration of a model says."""

TRAINING = frozenset(
    {
        "batch_size", "learning_rate", "lr", "epochs", "max_steps", "warmup_steps", "weight_decay",
        "gradient_accumulation_steps", "grad_accum_steps", "grad_clip", "max_grad_norm",
    }
)  # fmt: skip
"""What configurations of training say, of any program."""

BROUGHT: dict[Version, frozenset[str]] = {
    V0_5: frozenset({"use_semiseparable", "low_rank", "semiseparable_rank", "use_cpu_offload", "use_zero"}),
    V0_6: frozenset(
        {
            "sequence_schedule", "gradient_explosion_threshold", "condition_number_threshold",
            "check_nan_inf", "comparison",
        }
    ),
    V0_7: frozenset(
        {
            "quantization", "use_quantization", "enable_quantization", "quantization_bits", "qat_enabled",
            "qat_start_step",
        }
    ),
    V0_8: frozenset(
        {
            "use_act", "act_halt_threshold", "use_adaptive_computation", "adaptive_computation",
            "enable_adaptive_computation", "halt_threshold_low", "act_threshold", "early_exit_threshold",
            "use_learned_sparsity", "sparsity_target", "use_multi_scale", "downsample_factor",
            "downsample_layers", "flops_counter",
        }
    ),
    V0_9: frozenset(
        {
            "use_prime_bump", "prime_bump_init", "prime_bump_scale", "use_scattering_router",
            "use_clark_measure", "epsilon_schedule", "use_mourre", "use_lap", "schatten_threshold",
            "precision_upgrade_threshold", "use_birman_schwinger", "scattering_scale",
            "scattering_scale_warmup_steps", "use_bitnet", "use_symplectic", "symplectic_dt",
            "symplectic_mode", "use_non_hermitian", "use_koopman", "koopman_dim", "use_physics_informed",
            "use_htt_embedding", "use_htt_compression", "htt_rank", "quantized_htt", "use_resonant_htt",
            "ar_ssm_max_rank", "ar_ssm_min_rank", "use_ar_ssm", "use_ar_ssm_fusion", "use_hybrid_attention",
            "hyperbolic_window_size", "local_window_size", "use_hyperbolic_router", "use_bk_hyperbolic",
            "use_hyperbolic_ssm", "use_fused_moe_kernel", "use_hybrid_gradient", "grad_blend",
            "curvature_scheduler", "curvature_initial", "use_custom_kernels", "use_analytic_gradient",
            "low_rank_ffn", "low_rank_embedding", "low_rank_attention", "low_rank_rank", "use_zeta_init",
            "use_low_rank_ffn", "use_low_rank_embedding", "k_max", "clark_measure_weight",
        }
    ),
}  # fmt: skip
"""Names that no other program has, by the version that brought them."""

KINDS = frozenset({"standard", "resnet_bk", "koopman"})
"""What `model_type` may say, besides `phase` and a number."""

FOREIGN_MODELS = frozenset(
    {"ssm_cfg", "attn_config", "attn_cfg", "transformers_version", "architectures", "hidden_act", "n_heads"}
)
"""Names in configurations of other models, which have a width and layers too."""


def is_own(model_type: object) -> bool:
    """Whether a `model_type` names a model of ResNet-BK."""
    if not isinstance(model_type, str):
        return model_type is None
    return model_type in KINDS or model_type.startswith("phase")
