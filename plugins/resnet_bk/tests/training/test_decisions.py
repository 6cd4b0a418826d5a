"""What is decided when training fails: records in, records out."""

from __future__ import annotations

import json

import attrs
import pytest

from resnet_bk.training import RecoverySettings
from resnet_bk.training.recovery import Decision, Failure, RecoveryState, Situation, decide

FAILURE = Failure(kind="gradient-explosion", step=10, onset=10, message="m")
ROOM = Situation(learning_rate=1e-3, epsilon=1.0, share=8)


def remedies(situation: Situation, settings: RecoverySettings | None = None) -> list[str | None]:
    """What is tried, in turn, against a failure that never goes away."""
    settings = settings or RecoverySettings()
    state, found = RecoveryState(), []
    while not found or found[-1] is not None:
        decision = decide(FAILURE, state, situation, settings)
        found.append(decision.remedy)
        state.note(FAILURE, decision, settings)
    return found


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (ROOM, ["learning-rate", "epsilon", "batch-size", None]),
        (attrs.evolve(ROOM, epsilon=None), ["learning-rate", "batch-size", "batch-size", None]),
        (attrs.evolve(ROOM, epsilon=2.0), ["learning-rate", "batch-size", "batch-size", None]),
        (attrs.evolve(ROOM, learning_rate=5e-7), ["epsilon", "epsilon", "batch-size", None]),
        (attrs.evolve(ROOM, share=1, epsilon=None, learning_rate=5e-7), [None]),
    ],
)
def test_a_rung_that_can_not_be_taken_is_left_out(situation: Situation, expected: list[str | None]) -> None:
    """Without an epsilon, at the lowest rate, or with one sequence, the next remedy takes the place."""
    assert remedies(situation) == expected


def test_no_attempts_means_none() -> None:
    """Zero attempts stop at once; several processes do not divide their batch for want of memory."""
    assert remedies(ROOM, RecoverySettings(attempts=0)) == [None]
    failure = attrs.evolve(FAILURE, kind="out-of-memory")
    together = attrs.evolve(ROOM, processes=2)
    assert decide(failure, RecoveryState(), together, RecoverySettings()).remedy is None


def test_the_state_is_data() -> None:
    """It survives a trip through JSON."""
    state = RecoveryState(accumulation=2)
    state.note(FAILURE, Decision(remedy="epsilon", text="t", epsilon=1.5), RecoverySettings())
    assert RecoveryState(**json.loads(json.dumps(state.to_dict()))) == state
    assert (state.attempts, state.failed_at, state.epsilon) == (1, 10, 1.5)
    assert state.learning_rate_scale == 1.0
