"""Version 0.7: quantization.

What breaks: quantization is a module of its own, `QuantizedBirmanSchwinger(model, bits=8)`. Different
precision for different parts takes a configuration of its own, bits by part: `experts`, `bk_core` and
`output`.

What is new: quantization after training and while training, INT4 and INT8, quantization by groups,
benchmarks of how robust models are against it.

What will go: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import UnchangedCheckpoint
from modelplug_migrators.resnet_bk.configs.features import refuse_quantization
from modelplug_migrators.resnet_bk.configs.quantization import gather_quantization
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.source import upgrade_source_0_7
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_6, V0_7

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo07", "ConfigTo07", "SourceTo07"]


class ConfigTo07(ConfigStep):
    """Quantization is a section: bits for the whole, or for experts, core and output.

    `use_quantization` (or `enable_quantization`) with `quantization_bits` becomes `quantization.bits`. Of a
    tree with `ptq` and `qat`, `mixed_precision.moe_experts`, `bk_core` and `output_layers` become
    `quantization.experts`, `quantization.bk_core` and `quantization.output`, and the `bit_width` of
    whichever is enabled becomes `quantization.bits`. The rest of the tree is kept under
    `extras.quantization`.

    The way back changes nothing but the version, and is refused for a file with a `quantization`: before
    0.7 there was none.
    """

    source = V0_6
    target = V0_7
    breaking = ("Quantization is asked for in a section of its own.",)
    adds = (
        "`quantization.bits`: what `QuantizedBirmanSchwinger` takes.",
        "`quantization.experts`, `bk_core` and `output`: what `MixedPrecisionQuantization` takes.",
    )

    def change(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:
        """Gather what is said of quantization."""
        super().change(artifact, root, context)
        gather_quantization(artifact, root)

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:  # noqa: ARG002
        """Make sure that nothing is quantized."""
        refuse_quantization(artifact, root, V0_6)


class CheckpointTo07(UnchangedCheckpoint):
    """Checkpoints are what they were.

    Quantized models are made from them; nothing of that is stored.
    """

    source = V0_6
    target = V0_7


class SourceTo07(SourceStep):
    """The bits of a `MixedPrecisionQuantization` are given by part.

    `moe_experts` becomes `experts`, and `output_layers` becomes `output`, in the configuration that a
    `MixedPrecisionQuantization` is given. Other ways to quantize are looked at on the way to 1.0.
    """

    source = V0_6
    target = V0_7
    adds = (
        "`QuantizedBirmanSchwinger(model, bits=8)`.",
        "`MixedPrecisionQuantization(model, {'experts': 4, 'bk_core': 8, 'output': 16})`.",
    )

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.6 to 0.7."""
        upgrade_source_0_7(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo07,
    CheckpointTo07,
    SourceTo07,
)
