"""Version 0.6: long texts, and watching over the training.

What breaks: `n_seq` may be as large as 1,000,000, where 2048 was the most; perplexity over very long texts is
taken by a `StreamingEvaluator(model, chunk_size=...)`, piece by piece.

What is new: training on long texts, a Mamba model to compare with, FLOPs counted alike for both, watching the
stability of gradients, finding spikes of the loss.

What will go: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import UnchangedCheckpoint
from modelplug_migrators.resnet_bk.configs.features import refuse_length
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.source import upgrade_source_0_6
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_5, V0_6

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo06", "ConfigTo06", "SourceTo06"]


class ConfigTo06(ConfigStep):
    """The length of a sequence is `n_seq`, and may be up to a million tokens.

    `max_seq_len`, `max_seq_length`, `seq_len` and `seq_length` become `n_seq`. Two that disagree are
    reported; the one that is not used is kept under `extras`.

    The way back changes nothing but the version, and is refused for lengths above 2048, the most there was.
    """

    source = V0_5
    target = V0_6
    breaking = ("The length has one name, `n_seq`.",)
    adds = (
        "`n_seq` above 2048, up to 1,000,000, and a `sequence_schedule` to get there.",
        "`monitoring.gradient_explosion_threshold`, `condition_number_threshold` and `check_nan_inf`.",
    )

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:  # noqa: ARG002
        """Make sure that 0.5 takes the length."""
        refuse_length(artifact, root, V0_5)


class CheckpointTo06(UnchangedCheckpoint):
    """Checkpoints are what they were.

    `position_embedding` has a row for each of `n_seq` positions, however many these are.
    """

    source = V0_5
    target = V0_6


class SourceTo06(SourceStep):
    """Perplexity over long texts is taken by `StreamingEvaluator.evaluate()`.

    `evaluate_streaming(data, max_tokens=...)` becomes `evaluate(data, max_length=...)`, with the length of
    the data where no limit was given. What was looked up in its result by a key is an attribute:
    `results["loss"]` becomes `results.loss`, and `results["perplexity"]` the result itself, which is a
    number. `device`, `verbose`, `overlap` and `log_interval` go. An evaluator with a use that has no
    counterpart stays as it is.
    """

    source = V0_5
    target = V0_6
    adds = ("`n_seq` of `LanguageModel` may be as large as 1,000,000.",)

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.5 to 0.6."""
        upgrade_source_0_6(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo06,
    CheckpointTo06,
    SourceTo06,
)
