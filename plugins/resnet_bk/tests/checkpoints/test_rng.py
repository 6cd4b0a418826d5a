"""Random number generators, stopped and continued."""

from __future__ import annotations

import json
import random

import numpy
import pytest
import torch

from resnet_bk.checkpoints import capture_rng, restore_rng


def draw() -> list[float]:
    """Numbers from every generator, normal ones too, which keep one in reserve."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(numpy.random.rand()),
        float(numpy.random.normal()),
        torch.rand(1).item(),
        torch.randn(1).item(),
    ]


@pytest.mark.parametrize("drawn_before", [0, 1, 7])
def test_the_generators_go_on_where_they_were(drawn_before: int) -> None:
    """After a trip through JSON every generator gives the numbers it would have given."""
    for _ in range(drawn_before):
        draw()
    random.gauss(0, 1)
    state = json.loads(json.dumps(capture_rng()))
    expected = [draw(), draw()]
    draw()
    restore_rng(state)
    assert [draw(), draw()] == expected
