"""Version 0.9: transformers and ONNX.

What breaks: models are models of transformers: `AutoModel.from_pretrained(...)` in the place of
`LanguageModel(...)`. `export_to_onnx(model, path, input_shape=...)` needs the packages onnx, onnxruntime
and, for TensorRT, tensorrt.

What is new: PyTorch Hub, trained checkpoints on the Hugging Face Hub, checks of the theory, a family of
models by epsilon, compression with Koopman operators.

What will go: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import UnchangedCheckpoint
from modelplug_migrators.resnet_bk.configs.features import rename_back
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.source import upgrade_source_0_9
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_8, V0_9

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo09", "ConfigTo09", "SourceTo09"]


class ConfigTo09(ConfigStep):
    """Settings of the model have the names that its transformers configuration has.

    `prime_bump_init` becomes `use_prime_bump`, `dropout_p` becomes `dropout`, and `num_layers` and `n_layer`
    become `n_layers`.

    The way back gives `prime_bump_init` and `dropout_p` their names back.
    """

    source = V0_8
    target = V0_9
    breaking = ("`model_type` names the model's class for transformers.",)
    adds = (
        "`use_prime_bump`, and `epsilon_schedule` for families of models by epsilon.",
        "`model_type`.",
    )

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:  # noqa: ARG002
        """Give two settings the names they had."""
        rename_back(artifact, root, "use_prime_bump", "prime_bump_init")
        rename_back(artifact, root, "dropout", "dropout_p")


class CheckpointTo09(UnchangedCheckpoint):
    """Checkpoints are what they were, and may be folders for transformers, too.

    Such a folder holds `config.json` and `pytorch_model.bin`, in which `model.` stands before every name.
    """

    source = V0_8
    target = V0_9


class SourceTo09(SourceStep):
    """`export_to_onnx` takes the shape of an input.

    `export_to_onnx(model, path, batch_size=1, seq_length=512)` becomes `export_to_onnx(model, path,
    input_shape=(1, 512))`, and `dynamic_axes` becomes `dynamic`. A `tolerance`, which was a difference and
    is a share now, goes, and so does an `opset_version` before 18. `LanguageModel(...)` stays: it makes a
    model with fresh weights, where `AutoModel.from_pretrained(...)` loads one that was trained.
    """

    source = V0_8
    target = V0_9
    breaking = ("Models are models of transformers; export to ONNX needs `onnx` and `onnxruntime`.",)
    adds = ("`AutoModel.from_pretrained('resnet-bk/resnet-bk-1b')` loads a trained model.",)

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.8 to 0.9."""
        upgrade_source_0_9(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo09,
    CheckpointTo09,
    SourceTo09,
)
