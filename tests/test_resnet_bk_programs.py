"""Programs for ResNet-BK before 1.0, migrated as users do it, run with `resnet_bk`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
resnet_bk = pytest.importorskip("resnet_bk")
pytest.importorskip("libcst")

from modelplug_migrators.resnet_bk.source import settings, signatures, vocabulary  # noqa: E402

Run = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("compilers")


# Programs as people have them -----------------------------------------------------------------------------


def test_a_training_loop(run_migrated: Run) -> None:
    """A model goes through functions of its own file, and its logits are taken wherever it is called."""
    names = run_migrated(
        """\
        import torch
        import torch.nn as nn
        from src.models.resnet_bk import LanguageModel as ResNetBK

        CONFIG = {
            'vocab_size': 20, 'd_model': 32, 'n_layers': 1, 'n_seq': 16, 'num_experts': 2, 'dropout_p': 0.0,
            'use_scattering_router': False, 'use_birman_schwinger': False,
        }

        class Wrapper(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = ResNetBK(**CONFIG)

            def forward(self, x):
                return self.model(x)

        def create():
            return ResNetBK(**CONFIG).to("cpu")

        def train(model, batch):
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            criterion = nn.CrossEntropyLoss()
            for _ in range(2):
                logits = model(batch[:, :-1])
                loss = criterion(logits.reshape(-1, logits.size(-1)), batch[:, 1:].reshape(-1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            return loss.item()

        batch = torch.randint(0, 20, (2, 17))
        model = create()
        before = train(model, batch)
        with torch.no_grad():
            logits = model(batch)
        wrapped = Wrapper()(batch)
        sizes = (model.d_model, model.n_seq)
        """,
    )
    assert names["logits"].shape == names["wrapped"].shape == (2, 17, 20)
    assert names["sizes"] == (32, 16)
    assert names["model"].config.top_k == 1


def test_settings_that_only_running_shows(run_migrated: Run) -> None:
    """Whatever names they have, the older class takes them, says it is deprecated, and gives a tensor."""
    with pytest.warns(DeprecationWarning, match="LanguageModel"):
        names = run_migrated(
            """\
            import torch
            from src.models.resnet_bk import LanguageModel

            model = LanguageModel(**checkpoint['config']).to("cpu")
            logits = model(torch.zeros(1, 4, dtype=torch.long))
            """,
            checkpoint={"config": {"vocab_size": 20, "d_model": 32, "n_layers": 1, "dropout_p": 0.1}},
        )
    assert names["logits"].shape == (1, 4, 20)


def test_positional_arguments_of_a_version(run_migrated: Run) -> None:
    """Twenty settings without names are those of the version that took them in this order."""
    names = run_migrated(
        """\
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(
            20, 32, 1, 16, 2, 1, 0.0,  # sizes
            False, 0.1, 0,
            True, 0.03,
            True, 0.5, True, True, 90.0, 1e5, 4,
            False,
        )
        """
    )
    config = names["model"].config
    assert (config.vocab_size, config.d_model, config.n_layers, config.n_seq) == (20, 32, 1, 16)
    assert (config.num_experts, config.top_k, config.dropout) == (2, 1, 0.0)
    assert (config.use_prime_bump, config.prime_bump_scale, config.epsilon) == (True, 0.03, 0.5)
    assert (config.schatten_threshold, config.precision_upgrade_threshold, config.k_max) == (90.0, 1e5, 4)


# What is said of resnet_bk is true ------------------------------------------------------------------------


def test_every_counterpart_exists() -> None:
    """A program is not sent to a name that nobody has."""
    names = {old.counterpart for module in vocabulary.MODULES.values() for old in module.values()} - {""}
    assert names <= set(resnet_bk.__all__)


def test_the_settings_are_those_of_the_configuration() -> None:
    """Today's names, the renamed and the dropped ones are the same ones in both packages."""
    from resnet_bk import legacy
    from resnet_bk.configuration.checks import RENAMED
    from resnet_bk.configuration.rules import CHECKS

    assert set(CHECKS) | {"hidden_size", "num_hidden_layers"} == settings.CURRENT
    assert settings.RENAMED.items() >= RENAMED.items()
    assert set(settings.RENAMED.values()) <= settings.CURRENT
    assert settings.DROPPED == legacy._DROPPED
    gone = settings.RENAMED.keys() | settings.DROPPED | settings.DEPENDENT.keys()
    assert not settings.CURRENT & gone
    today = [settings.RENAMED.get(name, name) for name in settings.POSITIONAL]
    assert today == [settings.RENAMED.get(name, name) for name in legacy._POSITIONAL]


def test_the_defaults_are_those_of_the_configuration() -> None:
    """What is told of defaults is what models get."""
    config = resnet_bk.MambaKillerConfig()
    for name, change in settings.DEFAULTS_CHANGED.items():
        assert getattr(config, name) == float(change.partition(" -> ")[2])


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("birman_schwinger", "BirmanSchwingerCore"),
        ("checkpoint_manager", "CheckpointManager"),
        ("factorize", "SemiseparableMatrix"),
        ("prime_bump", "PrimeBumpPotential"),
        ("streaming_evaluator", "StreamingEvaluator"),
    ],
)
def test_arguments_are_those_of_the_classes(rule: str, name: str) -> None:
    """What a call is fitted to is what the class takes, in that order."""
    module = __import__(f"modelplug_migrators.resnet_bk.source.rules.{rule}", fromlist=["_MAKING"])
    parameters = inspect.signature(getattr(resnet_bk, name)).parameters
    plain = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert list(module._MAKING.kept) == plain
    assert set(module._MAKING.keywords) == parameters.keys() - set(plain)


def test_methods_are_those_of_the_classes() -> None:
    """What calls of methods are fitted to is what they take."""
    from modelplug_migrators.resnet_bk.source.rules import checkpoint_manager, streaming_evaluator

    save = inspect.signature(resnet_bk.CheckpointManager.save_checkpoint).parameters
    load = inspect.signature(resnet_bk.CheckpointManager.load).parameters
    evaluate = inspect.signature(resnet_bk.StreamingEvaluator.evaluate).parameters
    assert set(checkpoint_manager._SAVING.keywords) <= save.keys()
    assert {*checkpoint_manager._LOADING.kept, *checkpoint_manager._LOADING.keywords} <= load.keys()
    assert tuple(evaluate)[1:] == streaming_evaluator._EVALUATING.kept
    for method in checkpoint_manager._TODAY - {"directory", "keep"}:
        assert hasattr(resnet_bk.CheckpointManager, method)


def test_what_rules_write_is_what_resnet_bk_takes() -> None:
    """Names that rules put into programs, or take for today's, exist."""
    from modelplug_migrators.resnet_bk.source.rules import flops_counter, memory_options, onnx_export

    export = inspect.signature(resnet_bk.export_to_onnx).parameters
    assert list(export)[:3] == ["model", "path", "input_shape"]
    assert onnx_export._TODAY | {"opset_version", "verify"} <= export.keys()
    model = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig(vocab_size=2, d_model=32, n_layers=1))
    counter = resnet_bk.FLOPsCounter(model)
    assert all(hasattr(counter, name) for name in flops_counter._TODAY)
    mixed = inspect.signature(resnet_bk.MixedPrecisionQuantization).parameters
    assert {"group_size", "copy", "qat"} <= mixed.keys()
    assert {"bits", "group_size", "qat"} <= inspect.signature(
        resnet_bk.QuantizedBirmanSchwinger
    ).parameters.keys()
    assert set(memory_options._OF_MODELS) <= inspect.signature(resnet_bk.MemoryOptimizer).parameters.keys()
    order = signatures.CONFIGURATION
    assert all(hasattr(model.config, settings.RENAMED.get(name, name)) for name in order)
