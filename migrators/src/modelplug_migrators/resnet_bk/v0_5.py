"""Version 0.5: semiseparable matrices by default, and options to save memory.

What breaks: the core works with semiseparable matrices unless `use_semiseparable=False` says otherwise,
where 0.4 had dense ones; `low_rank` is their rank, by default the logarithm of the length. What saves
memory has to be asked for, with a `MemoryOptimizer(use_zero=..., use_cpu_offload=...,
use_gradient_checkpointing=...)`.

What is new: the factorization of semiseparable matrices, the ZeRO optimizer, low-rank factors in the memory
of the CPU, hierarchical structure; 70 % less memory than dense attention was the claim.

What will go: the dense mode, with 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import UnchangedCheckpoint
from modelplug_migrators.resnet_bk.configs.features import warn_of_dense
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.source import upgrade_source_0_5
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_4, V0_5

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo05", "ConfigTo05", "SourceTo05"]


class ConfigTo05(ConfigStep):
    """The settings of semiseparable matrices and of saving memory have the names of 0.5.

    `semiseparable_rank` becomes `low_rank`, and `cpu_offload` becomes `use_cpu_offload`. A file that says
    nothing of `use_semiseparable` gets semiseparable matrices: they give what dense ones gave.
    `use_semiseparable: false` stays, and is reported: that mode is on its way out.

    The way back changes nothing but the version: 0.4 knows these names, or passes over them.
    """

    source = V0_4
    target = V0_5
    breaking = (
        "Matrices are semiseparable unless `use_semiseparable: false` says otherwise; they were dense.",
        "What saves memory has to be asked for: `use_zero`, `use_cpu_offload`, `use_gradient_checkpointing`.",
    )
    adds = (
        "`use_semiseparable`, true by default, and `low_rank`, by default the logarithm of the length.",
        "`use_zero`, `use_cpu_offload` and `use_gradient_checkpointing`.",
    )
    deprecates = ("Dense matrices (`use_semiseparable: false`) go with 1.0.",)

    def change(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:
        """Say that dense matrices are on their way out."""
        super().change(artifact, root, context)
        warn_of_dense(artifact, root)


class CheckpointTo05(UnchangedCheckpoint):
    """Checkpoints are what they were.

    A model with `BirmanSchwingerCore` holds semiseparable matrices besides, under `birman_schwinger_core`.
    """

    source = V0_4
    target = V0_5


class SourceTo05(SourceStep):
    """A model's rank is its setting `low_rank`.

    `semiseparable_rank` of `LanguageModel` becomes `low_rank`. Nothing else has to change: matrices are
    semiseparable without a word. A `MemoryOptimizer` is a new thing, with nothing before it.
    """

    source = V0_4
    target = V0_5
    breaking = ("Models work with semiseparable matrices unless `use_semiseparable=False` says otherwise.",)
    adds = (
        "`LanguageModel(..., use_semiseparable=True, low_rank=None)`, both the default.",
        "`MemoryOptimizer(use_zero=..., use_cpu_offload=...).optimize(model)`.",
    )
    deprecates = ("`use_semiseparable=False` goes with 1.0.",)

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.4 to 0.5."""
        upgrade_source_0_5(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo05,
    CheckpointTo05,
    SourceTo05,
)
