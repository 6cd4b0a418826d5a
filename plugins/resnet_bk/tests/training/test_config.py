"""Settings that make no sense are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resnet_bk.training import RecoverySettings, TrainingConfig, TrainingConfigError


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"steps": 0}, "steps", "at least 1"),
        ({"steps": 1.5}, "steps", "a whole number"),
        ({"batch_size": True}, "batch_size", "a whole number"),
        ({"learning_rate": "0.1"}, "learning_rate", "a number"),
        ({"learning_rate": float("nan")}, "learning_rate", "a number"),
        ({"warmup": 1.5}, "warmup", "at most 1"),
        ({"schedule": "linear"}, "schedule", "one-cycle"),
        ({"precision": "float8"}, "precision", "bfloat16"),
        ({"gradient_clip": 0}, "gradient_clip", "at least"),
        ({"recovery": {"attempts": -1}}, "attempts", "at least 0"),
        ({"recovery": 3}, "recovery", "an object"),
        ({"learnin_rate": 1}, "learnin_rate", "learning_rate"),
        ({"recovery": {"atempts": 1}}, "atempts", "attempts"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(values: dict[str, Any], key: str, words: str) -> None:
    """The error has the key, the value, and what it should be or which name was meant."""
    with pytest.raises(TrainingConfigError) as caught:
        TrainingConfig.from_dict(values)
    assert caught.value.key == key
    assert words in f"{caught.value} {caught.value.advice}"


def test_settings_survive_a_file() -> None:
    """What is written for a run is what it was made from."""
    config = TrainingConfig(steps=3, gradient_clip=None, recovery=RecoverySettings(loss_rise=1))
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
