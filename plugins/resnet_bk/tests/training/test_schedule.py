"""Learning rates, with torch and transformers as the judges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from resnet_bk.training.schedule import Schedule


@given(steps=st.integers(10, 200), share=st.floats(0.15, 0.6))
def test_one_cycle_is_that_of_torch(steps: int, share: float) -> None:
    """Up from a 25th along a cosine, down along another, peak and end at the same steps."""
    schedule = Schedule.of("one-cycle", steps, share, 0.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, pct_start=schedule.warmup / steps, final_div_factor=1e9,
        cycle_momentum=False,
    )  # fmt: skip
    for step in range(steps):
        assert schedule.at(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        if step < steps - 1:
            optimizer.step()
            theirs.step()


@given(steps=st.integers(4, 100), warmup=st.integers(0, 3))
def test_cosine_is_that_of_transformers_half_a_warmup_step_on(steps: int, warmup: int) -> None:
    """Ours learns from the first step on, where theirs has a rate of zero; after the warm-up they agree."""
    from transformers import get_cosine_schedule_with_warmup

    schedule = Schedule(kind="cosine", steps=steps, warmup=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, warmup, steps).lr_lambdas[0]
    for step in range(steps):
        expected = (step + 1) / warmup if step < warmup else theirs(step)
        assert schedule.at(step) == pytest.approx(expected, abs=1e-9)


@given(
    st.sampled_from(["one-cycle", "cosine", "constant"]),
    st.integers(1, 300),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_rates_are_shares_that_rise_and_then_do_not(
    kind: str, steps: int, warmup: float, final: float
) -> None:
    """Between 0 and 1, rising in the warm-up, never rising after it, and defined past the end."""
    schedule = Schedule.of(kind, steps, warmup, final)
    rates = [schedule.at(step) for step in range(steps + 3)]
    assert all(0 <= rate <= 1 + 1e-12 for rate in rates)
    top = max(0, schedule.warmup - 1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    later = rates[max(top, schedule.warmup) :]
    assert later == sorted(later, reverse=True)
    assert rates[0] > 0 or final == 0


def test_constant_stays_at_the_top() -> None:
    """After a straight rise."""
    schedule = Schedule.of("constant", 10, 0.4, 0.0)
    assert [schedule.at(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
