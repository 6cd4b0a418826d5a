"""The rung of the recovery ladder that raises the epsilon, with models that have one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import tqdm
import transformers

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.configuration import MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.data import TokenStream
from resnet_bk.modeling import ResNetBK
from resnet_bk.training import RecoverySettings, TrainingConfig, train
from resnet_bk.training.epsilon import epsilon_of

Settings = Callable[..., TrainingConfig]
VOCABULARY = 20
QUICK = RecoverySettings(window=10, quiet_steps=5)


def model_that_fails(*calls: int, **settings: Any) -> ResNetBK:
    """A small model whose logits are NaN at these calls in training."""
    torch.manual_seed(0)
    config = MambaKillerConfig(vocab_size=VOCABULARY, d_model=32, n_layers=1, copy_key_dim=0, **settings)
    model = ResNetBK(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # large enough for all to count
    count = 0

    def fault(module: Any, _: Any, output: Any) -> None:
        nonlocal count
        count += module.training
        if module.training and count in calls:
            output.logits = output.logits * math.nan

    model.register_forward_hook(fault)
    return model


@pytest.fixture(scope="module", autouse=True)
def no_progress_bars() -> None:
    """A progress bar anywhere starts a thread that never ends."""
    tqdm.tqdm.monitor_interval = 0
    transformers.logging.disable_progress_bar()


@torch.no_grad()
def logits(model: ResNetBK) -> torch.Tensor:
    """What a model says to some tokens."""
    model.eval()
    found: torch.Tensor = model(torch.arange(16).unsqueeze(0)).logits
    return found


@pytest.mark.parametrize("mixer", ["green", "diagonal"])
def test_a_second_failure_raises_the_epsilon(
    mixer: str, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """It is really raised: the model computes something else, and so does what a checkpoint gives back."""
    model = model_that_fails(8, 9, mixer=mixer)
    result = train(model, stream, settings(checkpoint_every=5, recovery=QUICK), output=tmp_path)
    raised = logits(model)
    checkpoint = CheckpointManager(tmp_path / "checkpoints").load(result.checkpoint)
    stored = ResNetBK.from_pretrained(checkpoint.path, dtype=torch.float32)
    model.set_epsilon(1.0)

    assert [failure["remedy"] for failure in result.failures] == ["learning-rate", "epsilon"]
    assert (result.stopped, result.step) == ("finished", 12)
    assert stored.epsilon == checkpoint.training_state.epsilon == 1.5
    assert torch.allclose(logits(stored), raised, atol=1e-5)
    assert (logits(model) - raised).abs().max() > 1e-3


def test_a_resumed_run_has_the_raised_epsilon(
    stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A model that is built anew gets the epsilon back, once and not once more with every start."""
    config = settings(checkpoint_every=5, recovery=QUICK)
    train(model_that_fails(8, 9), stream, config, output=tmp_path)
    for _ in range(2):
        fresh = model_that_fails()
        train(fresh, stream, config, output=tmp_path, resume=True)
        assert fresh.epsilon == fresh.config.epsilon == 1.5


def test_a_model_without_an_epsilon_has_no_such_rung(
    stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Models from before 1.0 go on to the next rung instead of one that does nothing."""
    with pytest.warns(SeesTheFutureWarning):
        model = model_that_fails(8, 9, mixer="diagonal-bidirectional", n_seq=64)
    assert epsilon_of(model) is None
    result = train(model, stream, settings(checkpoint_every=5, recovery=QUICK), output=tmp_path)

    assert [failure["remedy"] for failure in result.failures] == ["learning-rate", "batch-size"]
