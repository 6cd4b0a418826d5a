"""What each version asks of programs: one function for each step."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import StepContext

__all__ = [
    "upgrade_source_0_5",
    "upgrade_source_0_6",
    "upgrade_source_0_7",
    "upgrade_source_0_8",
    "upgrade_source_0_9",
    "upgrade_source_1_0",
]


def upgrade_source_0_5(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.4 to 0.5: the rank of semiseparable matrices is `low_rank`."""
    _apply(artifact, context, ["setting_names:SEMISEPARABLE"])


def upgrade_source_0_6(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.5 to 0.6: `StreamingEvaluator` evaluates with `evaluate`."""
    _apply(artifact, context, ["streaming_evaluator"])


def upgrade_source_0_7(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.6 to 0.7: bits are given by `experts`, `bk_core` and `output`."""
    _apply(artifact, context, ["quantization"])


def upgrade_source_0_8(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.7 to 0.8: FLOPs are counted in a block, and `use_act` is a model's setting."""
    _apply(artifact, context, ["flops_counter", "setting_names:ADAPTIVE", "plain_imports"])


def upgrade_source_0_9(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.8 to 0.9: `export_to_onnx` takes the shape of an input."""
    _apply(artifact, context, ["onnx_export"])


def upgrade_source_1_0(artifact: SourceEditor, context: StepContext) -> None:
    """Bring a program from 0.9 to 1.0: everything comes from `resnet_bk`, and models from a configuration.

    Rules of earlier steps are asked again: a program that is of 0.9 by some of what it uses may use something
    else as an earlier version had it.
    """
    _apply(
        artifact,
        context,
        [
            "streaming_evaluator",
            "quantization",
            "mixed_precision",
            "flops_counter",
            "onnx_export",
            "configuration",
            "configuration_settings",
            "hugging_face",
            "model_class",
            "grad_blend",
            "logits",
            "model_members",
            "birman_schwinger",
            "scattering_router",
            "factorize",
            "memory_options",
            "quantized_core",
            "prime_bump",
            "bk_core",
            "checkpoint_manager",
            "imports",
            "texts",
        ],
    )


def _apply(artifact: SourceEditor, context: StepContext, names: Sequence[str]) -> None:
    """Apply rules: modules of the package `rules`, or what one of them has under a name."""
    from modelplug_migrators.resnet_bk.source.applying import apply_rules

    rules = []
    for name in names:
        module_name, _, inner = name.partition(":")
        module: Any = importlib.import_module(f"{__package__}.rules.{module_name}")
        rules.append(getattr(module, inner) if inner else module)
    apply_rules(artifact, context, rules)
