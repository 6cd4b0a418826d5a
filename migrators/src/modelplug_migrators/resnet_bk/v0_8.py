"""Version 0.8: adaptive computation.

What breaks: adaptive computation is part of the model, with `use_act=True` and `act_halt_threshold=0.2`;
before, there was none in it. FLOPs are counted only where a `FLOPsCounter(model)` is asked to, around the
calls it counts.

What is new: learned sparsity of the diagonal G_ii, several scales in one model, benchmarks of efficiency,
halting by the scattering phase.

What will go: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import UnchangedCheckpoint
from modelplug_migrators.resnet_bk.configs.features import refuse_flags
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.source import upgrade_source_0_8
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_7, V0_8

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo08", "ConfigTo08", "SourceTo08"]


class ConfigTo08(ConfigStep):
    """Adaptive computation is `use_act`, and its threshold `act_halt_threshold`.

    `use_adaptive_computation`, `adaptive_computation` and `enable_adaptive_computation` become `use_act`;
    `act_threshold`, `halt_threshold_low` and `early_exit_threshold` become `act_halt_threshold`.

    The way back changes nothing but the version, and is refused where adaptive computation, learned
    sparsity or several scales are asked for: before 0.8 there were none.
    """

    source = V0_7
    target = V0_8
    breaking = ("FLOPs are not counted by themselves any more.",)
    adds = (
        "`use_act` and `act_halt_threshold`.",
        "`use_learned_sparsity` and `use_multi_scale`.",
        "A section `flops_counter`.",
    )

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:  # noqa: ARG002
        """Make sure that nothing is asked for that 0.7 does not have."""
        refuse_flags(artifact, root, ("use_act", "use_learned_sparsity", "use_multi_scale"), V0_7)


class CheckpointTo08(UnchangedCheckpoint):
    """Checkpoints are what they were."""

    source = V0_7
    target = V0_8


class SourceTo08(SourceStep):
    """FLOPs are counted in a `with` block, and adaptive computation is a setting of the model.

    `flops = counter.count_flops(x)` becomes `with counter: model(x)` and `flops = counter.total_flops`; a
    counter that counts again is reset. `FLOPsCounter(model, batch_size=32, seq_len=128)` estimated from
    sizes: what `count_forward_flops()` said, and the `.forward` of `count_total_flops()`, is counted in a
    block with an input of these sizes. Estimates of backward passes and of optimizers are told, and left as
    they are.

    `use_adaptive_computation` of `LanguageModel` becomes `use_act`; `act_threshold` and `halt_threshold_low`
    become `act_halt_threshold`.
    """

    source = V0_7
    target = V0_8
    breaking = ("FLOPs are not counted unless a `FLOPsCounter(model)` does it.",)
    adds = ("`LanguageModel(..., use_act=True, act_halt_threshold=0.2)`.",)

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.7 to 0.8."""
        upgrade_source_0_8(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo08,
    CheckpointTo08,
    SourceTo08,
)
