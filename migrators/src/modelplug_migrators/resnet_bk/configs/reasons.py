"""Why settings of earlier versions have no place in 1.0, group by group."""

from __future__ import annotations

import fnmatch
import functools

import attrs

__all__ = ["REASONS", "SYNONYMS", "Reason", "known_names", "reason_for"]


@attrs.frozen(kw_only=True)
class Reason:
    """Why some settings have no place in 1.0.

    Attributes:
        why: The reason.
        names: Their names; `*` stands for any letters.
        matters: Whether what one asks for, with true, is missed in 1.0.
    """

    why: str
    names: tuple[str, ...]
    matters: bool = False


REASONS: tuple[Reason, ...] = (
    Reason(
        why="weights of 1.0 are trained in full precision",
        names=("use_bitnet", "bitnet_*", "quantized_*", "qat_*", "use_quantization", "enable_quantization",
               "quantization_*"),
        matters=True,
    ),
    Reason(
        why="1.0 has one kind of layer, without it",
        names=("use_symplectic", "symplectic_*", "use_non_hermitian", "use_ar_ssm*", "ar_ssm_*",
               "use_physics_informed", "use_koopman", "koopman_*", "use_hyperbolic_ssm",
               "enable_entailment_cones", "enable_persistent_homology", "use_bk_*", "use_zeta_init"),
        matters=True,
    ),
    Reason(why="1.0 has one kind of model", names=("model_type",)),
    Reason(
        why="of Birman-Schwinger operators 1.0 has the diagnostics",
        names=("use_birman_schwinger",),
        matters=True,
    ),
    Reason(
        why="1.0 has no attention",
        names=("use_hybrid_attention", "hyperbolic_*", "use_hyperbolic_*", "local_window_size", "num_heads",
               "use_flash_attention", "curvature*", "attention_*", "low_rank_attention",
               "enable_sheaf_attention", "target_curvature", "min_curvature", "max_norm"),
        matters=True,
    ),
    Reason(
        why="embeddings and layers of 1.0 are not factorized; `tie_word_embeddings` saves one matrix of two",
        names=("use_htt_*", "htt_*", "use_resonant_htt", "resonant_*", "low_rank_ffn", "low_rank_embedding",
               "low_rank_rank", "use_low_rank_*", "embed_rank", "ffn_rank", "head_rank",
               "ultra_compression_mode", "compression_*"),
        matters=True,
    ),
    Reason(
        why="1.0 computes every layer for every token",
        names=("use_learned_sparsity", "sparsity_*", "use_multi_scale", "downsample_*", "act_loss_weight",
               "use_early_exit", "early_exit_*", "use_adaptive_*", "halt_threshold_*"),
        matters=True,
    ),
    Reason(
        why="no version has done anything with it",
        names=("use_pruning", "prune_threshold", "use_distillation", "use_curriculum_learning",
               "use_active_learning", "use_gradient_caching"),
    ),
    Reason(
        why="gradients of 1.0 are exact, and its router and potential need no scale or clamp",
        names=("use_analytic_gradient", "scattering_scale*", "feature_clamp", "numerical_epsilon",
               "scale_epsilon"),
    ),
    Reason(
        why="1.0 chooses its kernels by itself; RESNET_BK_KERNEL names one",
        names=("use_triton_*", "triton_*", "use_custom_kernels", "use_fused_*", "use_green_function_*",
               "green_function_*", "compile", "compile_*", "use_compile", "use_torch_compile",
               "torch_compile_*", "use_cuda_graphs", "use_kernel_*"),
    ),
    Reason(
        why="parameters and optimizer are distributed with `training.parallel: fsdp2`",
        names=("use_zero", "use_zero_*", "zero_*", "num_gpus", "distributed_backend", "use_ddp"),
    ),
    Reason(
        why="training of 1.0 saves memory with `model.gradient_checkpointing` and `training.accumulation`",
        names=("gradient_checkpointing_*", "empty_cache_*", "auto_reduce_batch_on_oom", "min_batch_size",
               "cpu_offload*", "use_gradient_accumulation", "memory_*", "max_memory_*"),
    ),
    Reason(
        why="1.0 trains with AdamW, without it",
        names=("optimizer", "optimizer_*", "use_8bit_adam", "tsp_*", "use_tsp_*", "gradient_aligner_*",
               "use_gradient_aligner", "revolutionary_*", "use_revolutionary_*", "bootstrap_*", "use_ema",
               "ema_*", "label_smoothing", "warmup_min_lr", "use_loss_scaling", "initial_loss_scale",
               "loss_scale*", "grad_scaler_*", "sparsity_loss_weight", "momentum", "betas", "use_muon*"),
        matters=True,
    ),
    Reason(
        why="training of 1.0 recovers from such failures as `training.recovery` says",
        names=("grad_skip_threshold", "check_nan_inf", "check_interval", "condition_number_threshold",
               "gradient_explosion_threshold", "nan_*", "emergency_save", "timeout_warning_minutes",
               "enable_numerical_guards"),
    ),
    Reason(
        why="tokens of 1.0 are prepared once, in a file: nothing has to be loaded ahead",
        names=("num_workers", "prefetch_factor", "pin_memory", "persistent_workers", "dataloader_*"),
    ),
    Reason(
        why="1.0 is given its texts, and takes all of them: `resnet-bk train TEXT...`",
        names=("data_limit", "max_samples", "datasets", "dataset_*", "tokenizer", "tokenizer_*",
               "text_column",               "train_split", "val_split"),
    ),
    Reason(
        why="measurements of 1.0 are in metrics.jsonl of the run, and in TensorBoard if asked for",
        names=("use_wandb", "wandb", "wandb_*", "log_*"),
    ),
    Reason(
        why="a checkpoint of 1.0 holds everything that the run needs to go on",
        names=("save_optimizer", "save_scheduler", "save_*", "keep_*", "resume*", "async_*"),
    ),
    Reason(
        why="1.0 repeats a run exactly where the device can",
        names=("deterministic", "cudnn_*", "benchmark_mode"),
    ),
    Reason(
        why="training of 1.0 leaves `epsilon` as it is, unless it has to recover",
        names=("epsilon_anneal_*", "anneal_*"),
    ),
    Reason(
        why="it is for other programs than the model and its training",
        names=("evaluation", "comparison", "flops_counter", "colab", "sequence_schedule", "benchmark",
               "quantization", "description", "name", "experiment", "notes", "version", "phase"),
    ),
)  # fmt: skip
"""The reasons, those that are more exact first."""

SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("num_workers", "dataloader_num_workers"),
    ("pin_memory", "dataloader_pin_memory"),
    ("prefetch_factor", "dataloader_prefetch_factor"),
    ("persistent_workers", "dataloader_persistent_workers"),
    ("low_rank_ffn", "use_low_rank_ffn"),
    ("low_rank_embedding", "use_low_rank_embedding"),
    ("use_triton_kernel", "use_triton_kernels", "use_custom_kernels"),
    ("use_quantization", "enable_quantization"),
    ("use_zero", "use_zero_optimization"),
    ("use_torch_compile", "use_compile", "compile"),
    ("use_wandb", "wandb"),
)
"""Names of one thing each, for which 1.0 has no place."""


def reason_for(name: str) -> Reason | None:
    """Why a setting has no place in 1.0; None if no version had it."""
    return next(
        (reason for reason in REASONS for pattern in reason.names if fnmatch.fnmatchcase(name, pattern)), None
    )


@functools.cache
def known_names() -> tuple[str, ...]:
    """The names among the reasons that are written out."""
    return tuple(name for reason in REASONS for name in reason.names if "*" not in name)
