"""The steps of checkpoints, for the modules of the versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.resnet_bk.checkpoints.downgrade import downgrade_checkpoint
from modelplug_migrators.resnet_bk.checkpoints.upgrade import upgrade_checkpoint
from modelplug_migrators.resnet_bk.versions import NAME, V0_9, V1_0

if TYPE_CHECKING:
    from modelplug.migration.checkpoints import CheckpointEditor
    from modelplug.migration.steps import StepContext

__all__ = ["CheckpointTo10", "UnchangedCheckpoint"]


class UnchangedCheckpoint(Migration):
    """The base of the steps between versions whose checkpoints are the same."""

    family: ClassVar[str] = NAME
    kind: ClassVar[Kind] = Kind.CHECKPOINT

    def upgrade(self, artifact: CheckpointEditor, context: StepContext) -> None:
        """Leave everything as it is."""

    def downgrade(self, artifact: CheckpointEditor, context: StepContext) -> None:
        """Leave everything as it is."""


class CheckpointTo10(Migration):
    """A folder of data takes the place of a pickle, and the model in it gives the logits it gave.

    `FILE.pt` becomes a folder `FILE` with `model.safetensors`, `config.json` and `training_state.json` in it,
    the states of optimizer, scheduler and the like as JSON and safetensors, `metadata.json` with the hashes
    of all, and `migration.json` with what became of every tensor. A folder of weights keeps its name and its
    other files. The old checkpoint goes into the backup: it is moved, not copied. Nothing in it is executed:
    objects of foreign classes are kept as their fields, and what would call a function is refused.

    All shapes that were in use are read, with the model under `model_state_dict`, `state_dict` or `model`,
    bare, or in a folder, with `model.`, `module.` and `_orig_mod.` before its names. `blocks.N.` becomes
    `model.layers.N.`, `moe_ffn` (later `ffn`) becomes `feed_forward`, `v_proj` and `output_proj` become
    `mixer.potential` and `mixer.out_proj`. `bk_scale` becomes a vector; `z`, or `epsilon_param` and `gamma`,
    become `mixer.energy` and `mixer.rho`. The stored chains (`h0_...`) are rebuilt. The optimizer's state
    follows its parameters.

    The model keeps its own way of mixing tokens, `mixer: diagonal-bidirectional`, which sees the future. What
    1.0 can't reproduce is refused: experts chosen by the phase; low-rank terms, unless the option
    `checkpoint=nearest` leaves them out.

    The way back makes one file of the form of 0.9, for models that 0.9 had.
    """

    family = NAME
    kind = Kind.CHECKPOINT
    source = V0_9
    target = V1_0
    breaking = (
        "A checkpoint is a folder, and no program before 1.0 reads it.",
        "Models are loaded with `ResNetBK.from_pretrained(folder)` or `CheckpointManager(...).load(folder)`.",
    )
    adds = (
        "`metadata.json`: the version of the format, hashes of every file, where the checkpoint comes from.",
        "`training_state.json`: where training stood, and the states of the random number generators.",
    )
    deprecates = ("The old form of checkpoints will not be migrated any more from 2.0 on.",)

    def upgrade(self, artifact: CheckpointEditor, context: StepContext) -> None:
        """Say what becomes of a checkpoint before 1.0."""
        upgrade_checkpoint(artifact, context)

    def downgrade(self, artifact: CheckpointEditor, context: StepContext) -> None:
        """Say what becomes of a checkpoint of 1.0 in the form of 0.9."""
        downgrade_checkpoint(artifact, context)
