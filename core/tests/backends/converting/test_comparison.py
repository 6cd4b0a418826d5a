"""How the probabilities of two models are compared."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.backends.conversion_comparison import Observed, compare_probabilities, compare_tokens, distance
from modelplug.errors import ConversionMismatchError
from modelplug.formats.model_info import ModelInfo

RESULT = ModelInfo(path=Path("/made/up.gguf"), format="gguf")
ROWS = st.lists(st.floats(-20, 5), min_size=8, max_size=60, unique=True).filter(
    lambda row: max(row) - min(row) > 0.1
)


def probabilities(scores: list[float]) -> dict[str, float]:
    """Scores as log probabilities of made-up words."""
    whole = math.log(math.fsum(map(math.exp, scores)))
    return {f"w{number}": score - whole for number, score in enumerate(scores)}


@given(ROWS)
def test_the_same_is_at_no_distance(scores: list[float]) -> None:
    """A model is at a distance of zero from itself."""
    row = probabilities(scores)

    assert distance(row, row) == pytest.approx((0, 0), abs=1e-9)


@given(ROWS, st.floats(-3, 3))
def test_a_common_factor_does_not_count(scores: list[float], shift: float) -> None:
    """What else shares the probability, outside of the tokens that both tell, changes no error."""
    row = probabilities(scores)
    found = distance(row, {text: value + shift for text, value in row.items()})

    assert found is not None
    assert found[0] == pytest.approx(0, abs=1e-6)


@given(ROWS, st.floats(0.01, 2))
def test_the_error_is_relative_to_the_spread(scores: list[float], part: float) -> None:
    """Differences that are a part of the spread give that part as error, whatever the spread."""
    row = probabilities(scores)
    found = distance(row, {text: value * (1 + part) for text, value in row.items()})

    assert found is not None
    assert found[0] == pytest.approx(part, rel=1e-6)


def test_the_divergence_is_that_of_kullback_and_leibler() -> None:
    """With all tokens told, it is the sum of p log p/q."""
    first, second = probabilities([2.0, *[0.0] * 9]), probabilities([0.0] * 10)
    expected = sum(math.exp(first[text]) * (first[text] - second[text]) for text in first)

    found = distance(first, second)
    assert found is not None
    assert found[1] == pytest.approx(expected, rel=1e-6)


def test_too_few_tokens_in_common_say_nothing() -> None:
    """Seven tokens are no basis."""
    assert distance(probabilities([1.0] * 7), probabilities([1.0] * 7)) is None


def test_positions_where_a_text_ends_are_left_out() -> None:
    """An engine that would end the text tells nothing there; with nothing told at all, it is said."""
    row = probabilities([float(number) for number in range(20)])
    before = Observed("a", (), (row, {}, row))

    assert compare_probabilities(before, Observed("b", (), (row, row, row)), RESULT, "F16").positions == 2
    nothing = compare_probabilities(Observed("a", (), ({},)), Observed("b", (), ({},)), RESULT, "F16")
    assert (nothing.method, nothing.backend, nothing.error) == ("tensors", "b", None)
    assert "too few tokens" in nothing.note


def test_tokens_without_a_text_are_no_basis() -> None:
    """Where nearly all probable tokens are padding, which engines spell differently, nothing is concluded."""
    few, many = probabilities([1.0, 2.0]), probabilities([float(number) for number in range(20)])
    found = compare_probabilities(
        Observed("a", (), (few,) * 3), Observed("b", (), (many,) * 3), RESULT, "F16"
    )

    assert found.method == "tensors"


def test_other_tokens_altogether_are_another_model() -> None:
    """Where the most probable tokens of one are not among the other's, the comparison ends."""
    row = probabilities([float(number) for number in range(20)])
    other = {f"x{text}": value for text, value in row.items()}

    with pytest.raises(ConversionMismatchError, match="expects other tokens"):
        compare_probabilities(Observed("a", (), (row,) * 3), Observed("b", (), (other,) * 3), RESULT, "F16")


def test_a_text_that_is_longer_in_one_is_noticed() -> None:
    """Tokens that only follow the others' differ in length."""
    ids = ((1, 2, 3), (4,), (5,), (6,))
    longer = ((1, 2, 3, 9), (4,), (5,), (6,))

    with pytest.raises(ConversionMismatchError) as caught:
        compare_tokens(Observed("a", ids, ()), Observed("b", longer, ()), RESULT)
    assert "in length, 4 tokens against 3" in caught.value.why
