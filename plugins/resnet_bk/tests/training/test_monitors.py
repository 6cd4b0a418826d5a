"""Monitors of gradient and loss."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.training import GradientStabilityMonitor, LossSpikeMonitor

NORMS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=60)
LOSSES = st.lists(st.floats(0.01, 20), min_size=1, max_size=80)


@given(NORMS)
def test_an_explosion_is_ten_times_the_running_median(norms: list[float]) -> None:
    """Exactly the norms over ten times the median of those before are reported, once there are some."""
    monitor = GradientStabilityMonitor(factor=10, window=8, least_history=3)
    for step, norm in enumerate(norms):
        before = norms[max(0, step - 8) : step]
        expected = len(before) >= 3 and norm > 10 * statistics.median(before)
        alert = monitor.observe(step, norm)
        assert (alert is not None) == expected
        if alert is not None:
            assert (alert.kind, alert.step, alert.value) == ("gradient-explosion", step, norm)
            assert alert.limit == pytest.approx(10 * statistics.median(before))


@given(LOSSES)
def test_a_divergence_is_a_smoothed_rise_by_half_within_the_window(losses: list[float]) -> None:
    """Means of three losses are compared with the lowest mean of the twelve steps before."""
    monitor = LossSpikeMonitor(rise=0.5, window=12, least_rise=0.1, smoothing=3)
    means: dict[int, float] = {}
    for step, loss in enumerate(losses):
        alert = monitor.observe(step, loss)
        if step < 2:
            assert alert is None
            continue
        mean = statistics.fmean(losses[step - 2 : step + 1])
        past = {at: value for at, value in means.items() if at >= step - 12}
        means[step] = mean
        lowest = min(past.values(), default=math.inf)
        assert (alert is not None) == (mean > max(lowest * 1.5, lowest + 0.1))
        if alert is not None:
            assert means[alert.onset] == lowest
            assert alert.kind == "loss-divergence"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_reported_at_once_and_not_remembered(value: float) -> None:
    """The first value may be the wrong one, and later medians know nothing of it."""
    gradients, losses = GradientStabilityMonitor(), LossSpikeMonitor()
    alerts = [gradients.observe(0, value), losses.observe(0, value)]
    assert [alert.kind for alert in alerts if alert] == ["non-finite-gradient", "non-finite-loss"]
    assert gradients.median is None
    assert losses.recent == []


def test_single_spikes_are_counted_and_are_no_divergence() -> None:
    """A loss of more than twice the one before is a spike, which ten steps smooth away."""
    monitor = LossSpikeMonitor()
    alerts = [monitor.observe(step, 6.5 if step in (40, 70) else 3.0) for step in range(100)]
    assert alerts == [None] * 100
    assert monitor.spikes == 2


def test_noise_of_a_small_loss_is_no_divergence() -> None:
    """Where the loss is near zero, half as much again is little."""
    monitor = LossSpikeMonitor()
    assert all(monitor.observe(step, 0.01 + 0.03 * (step > 50)) is None for step in range(120))


@given(NORMS, LOSSES, st.integers(0, 60))
def test_monitors_go_on_where_they_were(norms: list[float], losses: list[float], cut: int) -> None:
    """A monitor made from the state of another, after a trip through JSON, says the same from then on."""
    for make, values in (
        (lambda: GradientStabilityMonitor(window=8, least_history=2), norms),
        (lambda: LossSpikeMonitor(window=9, smoothing=2), losses),
    ):
        first: Any = make()
        for step, value in enumerate(values[:cut]):
            first.observe(step, value)
        second: Any = make()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for step, value in enumerate(values[cut:], cut):
            assert first.observe(step, value) == second.observe(step, value)
        assert first.state_dict() == second.state_dict()


def test_the_trainer_of_transformers_is_watched(
    make_model: Callable[..., torch.nn.Module], tmp_path: Path
) -> None:
    """The callbacks see what the Trainer logs, and can stop it."""
    import transformers

    from resnet_bk.training import GradientStabilityCallback, LossSpikeCallback

    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = transformers.LlamaForCausalLM(config)
    calls = 0

    def explode(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return gradient * (1000 if calls == 8 else 1)

    model.lm_head.weight.register_hook(explode)
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]} for _ in range(40)]
    gradients = GradientStabilityCallback(GradientStabilityMonitor(least_history=3), stop=True)
    losses = LossSpikeCallback()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=20, per_device_train_batch_size=2, logging_steps=1,
            report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
        ),
        train_dataset=rows,
        callbacks=[gradients, losses],
    )  # fmt: skip
    trainer.train()
    assert [alert.step for alert in gradients.alerts] == [8]
    assert losses.alerts == []
    assert trainer.state.global_step == 8
    assert len(losses.monitor.recent) == 8
