"""Version 1.0: one strict configuration class, and checkpoints that are data.

What breaks: `ResNetBK(MambaKillerConfig(...))` in the place of `ResNetBK(...)` with settings as arguments.
Checkpoints hold more, to make runs reproducible, and are written by
`CheckpointManager(folder).save_checkpoint(model=..., optimizer=..., epoch=..., step=..., metadata=...)`.
`BirmanSchwingerCore.forward()` takes `z`, by default 1.0j. `ScatteringRouter.forward()` gives two tensors,
the experts and their weights. `SemiseparableMatrix.factorize()` gives three, T, U and V.

What is new: mixed precision by default, training that recovers from failures and adjusts its settings,
pipelines of transformers, TensorRT; three times faster inference with it was the claim.

What will go: `use_hybrid_gradient`, for which `grad_blend` is there, `manual_seed`, for which
`torch.manual_seed()` is there, and the old form of checkpoints, with 2.0. Gone is the dense mode,
deprecated since 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Migration
from modelplug_migrators.resnet_bk.checkpoints import CheckpointTo10
from modelplug_migrators.resnet_bk.configs.downgrading import bring_to_0_9
from modelplug_migrators.resnet_bk.configs.step import ConfigStep
from modelplug_migrators.resnet_bk.configs.upgrading import bring_to_1_0
from modelplug_migrators.resnet_bk.source import upgrade_source_1_0
from modelplug_migrators.resnet_bk.source.step import SourceStep
from modelplug_migrators.resnet_bk.versions import V0_9, V1_0

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["STEPS", "CheckpointTo10", "ConfigTo10", "SourceTo10"]


class ConfigTo10(ConfigStep):
    """Every setting has one name and one place, and what nothing reads is kept apart.

    `model` holds what `MambaKillerConfig(**model)` takes, `training` what `resnet-bk train --settings`
    takes, and `data`, `checkpoint`, `monitoring` and `quantization` what belongs to these. The sections are
    strict: every other key goes to `extras`, with the reason, or with the nearest name where no version has
    known it. Where two names of one setting disagree, both are reported, and one is kept under `extras`.

    Of training, `max_steps` becomes `steps`, `max_grad_norm` (or `grad_clip`) `gradient_clip`,
    `gradient_accumulation_steps` `accumulation`, `adam_beta1` and `adam_beta2` `beta1` and `beta2`,
    `eval_interval`, `save_interval` and `log_interval` `evaluate_every`, `checkpoint_every` and
    `log_every`, `checkpoint.keep_last_n` `keep_checkpoints`. `batch_size` counts the sequences of a whole
    update, so it is multiplied with the accumulation; `warmup_steps` becomes `warmup`, a share of the
    steps; `min_lr` becomes `final_learning_rate`, a share of the highest; `mixed_precision` becomes
    `precision`. `n_seq` is the model's, and `training.sequence_length` says the same to the training.

    `use_hybrid_gradient` becomes `grad_blend`: 0.5 for true, 0 for false. `manual_seed` becomes
    `training.seed`. `use_semiseparable: false` goes to `extras`: the dense mode is gone. Numbers that YAML
    1.1 takes for text, such as `1.0e6` and `1e-4`, are spelled so that every program reads them as numbers.

    Files with a `_base_` keep it; their base is a file of its own. `resnet_bk: "1.0"` says the version.

    The way back gives every setting its name and value of 0.9 and brings back the extras. It is refused for
    what 0.9 can't say, such as another mixer than the one it had.
    """

    source = V0_9
    target = V1_0
    breaking = (
        "A key that is no setting is an error, and no longer passed over.",
        "`batch_size` counts the sequences of an update; it counted those computed at once.",
        "The dense mode, deprecated since 0.5, is gone.",
        "Models have a causal mixer unless `model.mixer: diagonal-bidirectional` asks for that of 0.9.",
    )
    adds = (
        "`training.precision: auto`: mixed precision where the device gains by it.",
        "`training.recovery`: training recovers from failures by itself.",
        "`model.mixer`, and the settings of the `green` mixer.",
    )
    deprecates = (
        "`use_hybrid_gradient`: `grad_blend` is there instead.",
        "`manual_seed`: `training.seed` is there instead; a program calls `torch.manual_seed()` itself.",
    )

    def change(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:
        """Bring every setting to its place."""
        bring_to_1_0(artifact, root, context)

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:
        """Bring every setting back to its place in 0.9."""
        bring_to_0_9(artifact, root, context)


class SourceTo10(SourceStep):
    """Everything is imported from `resnet_bk`, and a model is made from a `MambaKillerConfig`.

    `LanguageModel(...)` and `ResNetBK(...)` with settings become `ResNetBK(MambaKillerConfig(...))`, with
    today's names of settings: `dropout_p` is `dropout`, `prime_bump_init` is `use_prime_bump`, and so on.
    What chose between implementations (`use_birman_schwinger`, `use_triton_kernel` ...) goes, and
    `use_semiseparable=False` with it. Arguments without names get those of the version that they are in the
    order of: the first seven were the same always, and of those after them what they are, what they are
    called and which others have names tells the version. `use_hybrid_gradient` becomes `grad_blend`, and so
    does `BKCoreFunction.GRAD_BLEND`, which held for all models of a program; `manual_seed=42` becomes the
    call `torch.manual_seed(42)` before the model is made. `num_experts` without `top_k` gets `top_k=1`, what
    it was by default. A dictionary of settings is changed where it stands, if the program shows it;
    `**settings` that it does not show go to `resnet_bk.LanguageModel`, which takes older names too, and is
    deprecated.

    A model gives an object: `model(x)` becomes `model(x).logits`. `model.d_model` and `model.n_seq` are
    `model.config.d_model` and `model.config.n_seq`.

    `BirmanSchwingerCore`: `core(v)` becomes `core(v, z=1.0j)`. `ScatteringRouter`: `experts = router(g)`
    becomes `experts, _ = router(g)`; of three results, the diagnostics go. `SemiseparableMatrix.factorize()`:
    a pair of results becomes T, U and V. `BKCoreFunction.apply()`: one result becomes the first of two.
    `CheckpointManager.save(...)` becomes `save_checkpoint(...)`, everything by name.
    `create_resnet_bk_for_hf("1M")` becomes `ResNetBKForCausalLM(preset("resnet-bk-1m"))`.

    `create_mixed_precision_quantizer(model, use_dynamic_policy=False)` with its `quantize_model()` becomes a
    `MixedPrecisionQuantization` with the bits it gave, in the place where it changed the model.
    `create_optimized_semiseparable(n_seq, config)` becomes a `SemiseparableMatrix(n_seq)` where the
    configuration asks for nothing else. What quantized the values in one core, or stored one matrix in
    another way, has no counterpart: it is told, with what quantizes a model, or saves memory with one, in
    the same way.

    What can't be decided stays, and is told with its line: a setting that nothing stands for, a model that
    goes where its calls can't be seen, an import of something that `resnet_bk` has not. Cells of notebooks
    with commands of IPython stay as they are.
    """

    source = V0_9
    target = V1_0
    breaking = (
        "`ResNetBK(...)` takes a configuration, and no settings.",
        "A model's result is an object with `.logits`, and no tensor.",
        "`BirmanSchwingerCore.forward()` takes `z`, by default 1.0j.",
        "`ScatteringRouter.forward()` gives `(expert_indices, routing_weights)`.",
        "`SemiseparableMatrix.factorize()` gives `(T, U, V)`.",
        "The dense mode, deprecated since 0.5, is gone.",
    )
    deprecates = (
        "`use_hybrid_gradient`: `grad_blend` is there instead.",
        "`manual_seed`: `torch.manual_seed()` is there instead.",
        "`LanguageModel`: `ResNetBK(MambaKillerConfig(...))` is there instead.",
    )

    def upgrade(self, artifact: SourceEditor, context: StepContext) -> None:
        """Bring the programs in a file from 0.9 to 1.0."""
        upgrade_source_1_0(artifact, context)


STEPS: tuple[type[Migration], ...] = (
    ConfigTo10,
    CheckpointTo10,
    SourceTo10,
)
