"""What is made of answers: where two part, whether rounding explains it, and whether one makes sense."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.backends.model import GenerationStats
from modelplug.benchmark.answers import PROMPTS, Answer, Answers
from modelplug.benchmark.parity import compare_results
from modelplug.benchmark.parting import CLOSE, part
from modelplug.benchmark.sanity import check_sanity, oddities
from modelplug.benchmark.tested import ModelTestResult
from modelplug.errors import BackendError

ROW = {"x": -0.1, "y": -5.0}


def answer(text: str, tokens: tuple[int, ...] = (), prompt_tokens: int = 4, **rest: Any) -> Answer:
    """An answer of this text; 10 tokens a second unless `seconds` says otherwise."""
    count = len(tokens) or len(text.split())
    stats = GenerationStats(
        prompt_tokens=prompt_tokens, completion_tokens=count, generate_seconds=rest.pop("seconds", count / 10)
    )
    facts = {"prompt": PROMPTS[0], "finish_reason": "length", **rest}
    return Answer(text=text, tokens=tokens, stats=stats, **facts)


def sound(text: str = "a b c", **rest: Any) -> Answers:
    """The answers of an engine that has and does everything."""
    one = answer(text, (1, 2, 3), alternatives=(ROW,) * 3)
    facts: dict[str, Any] = {"tells_probabilities": True, "takes_seed": True, **rest}
    named = {name: [one, one] for name in ("greedy", "again", "seeded", "reseeded")}
    return Answers(**{**named, **facts})


def outcomes(answers: Answers) -> list[str]:
    """The outcome of every check."""
    return [check.outcome for check in check_sanity(answers)]


# Parting --------------------------------------------------------------------------------------------------


def test_the_same_answer_does_not_part() -> None:
    """Same text and tokens are the same, and same text is where an engine does not tell its tokens."""
    assert part(answer("a b", (1, 2)), answer("a b", (1, 2))) is None
    assert part(answer("a b", (1, 2)), answer("a b")) is None


def test_a_token_that_only_says_the_end_is_no_difference() -> None:
    """Some engines tell the token that ends a text; where both ended, that is the same answer."""
    short, long = answer("a", (1,), finish_reason="stop"), answer("a", (1, 0), finish_reason="stop")

    assert part(short, long) is None
    assert part(long, short) is None
    assert part(answer("a", (1,)), answer("a", (1, 0))) is not None


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=9), st.lists(st.integers(0, 9), min_size=1, max_size=9)
)
def test_the_first_token_that_differs_is_told(one: list[int], other: list[int]) -> None:
    """Everything before the position is the same, and what is there is not."""
    texts = [" ".join(map(str, tokens)) for tokens in (one, other)]
    parting = part(answer(texts[0], tuple(one)), answer(texts[1], tuple(other)))

    if one == other:
        assert parting is None
        return
    assert parting is not None
    assert parting.unit == "token"
    assert one[: parting.position] == other[: parting.position]
    assert one[parting.position : parting.position + 1] != other[parting.position : parting.position + 1]


def test_without_tokens_the_first_character_is_told() -> None:
    """Then it can't be told whether rounding explains it, and that is said."""
    parting = part(answer("one two", (1, 2)), answer("one too"))

    assert parting is not None
    assert (parting.unit, parting.position, parting.rounding) == ("character", 5, None)
    assert "can't be told" in parting.reason


@pytest.mark.parametrize(
    ("first", "second", "rounding"),
    [
        ({"x": -0.70, "y": -0.75}, {"y": -0.70, "x": -0.75}, True),
        ({"x": -0.70, "y": -0.71 - CLOSE}, {"y": -0.70, "x": -0.75}, False),
        # The other token is not even among the most probable: it is further behind than all that are.
        ({"x": -0.10, "z": -4.0}, {"y": -0.70, "x": -0.75}, False),
        ({"x": -0.70, "y": -0.75}, {}, None),
        ({"x": -0.70, "y": math.nan}, {"y": -0.70, "x": -0.75}, None),
        ({"x": -0.70, "y": None}, {"y": -0.70, "x": -0.75}, None),
        ({"x": -0.70, "y": -math.inf}, {"y": -0.70, "x": -math.inf}, False),
        # Not among the most probable ones, which are all alike: nobody knows how far behind it is.
        ({"x": -7.0, "z": -7.0}, {"y": -7.0, "x": -7.0}, None),
    ],
)
def test_rounding_explains_what_was_nearly_as_probable(
    first: dict[str, Any], second: dict[str, Any], rounding: bool | None
) -> None:
    """Two tokens may change places where both engines held both nearly as probable, and nowhere else."""
    one = answer("a x", (1, 2), alternatives=(ROW, first))
    other = answer("a y", (1, 3), alternatives=(ROW, second))

    for parting in (part(one, other), part(other, one)):
        assert parting is not None
        assert (parting.position, parting.rounding) == (1, rounding)


def test_a_prompt_read_otherwise_is_no_rounding() -> None:
    """Engines that cut the prompt into other tokens disagree before they begin."""
    parting = part(answer("a x", (1, 2), prompt_tokens=4), answer("a y", (1, 3), prompt_tokens=5))

    assert parting is not None
    assert parting.rounding is False
    assert "4 tokens against 5" in parting.reason


def test_an_end_where_the_other_goes_on_is_told() -> None:
    """One answer is the beginning of the other: they part where the shorter one ends."""
    parting = part(answer("a b c", (1, 2, 3)), answer("a b", (1, 2), finish_reason="stop"))

    assert parting is not None
    assert (parting.position, parting.rounding) == (2, None)
    assert "ends where the other goes on" in parting.reason


# Sanity ---------------------------------------------------------------------------------------------------


def test_sound_answers_pass() -> None:
    """Every check passes, and nothing is odd."""
    assert outcomes(sound()) == ["passed"] * 3
    assert list(oddities(sound().greedy)) == []


def test_nothing_is_checked_where_nothing_was_said() -> None:
    """An engine that failed at once passes nothing and fails nothing."""
    assert outcomes(Answers()) == ["not checked"] * 3


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"x": -0.1, "y": -math.inf}, "passed"),
        ({"x": 0, "y": -30.0}, "passed"),
        ({"x": math.nan, "y": -1.0}, "failed"),
        ({"x": math.inf, "y": -1.0}, "failed"),
        ({"x": -math.inf}, "failed"),
        ({"x": None, "y": None}, "failed"),
    ],
)
def test_finite_means_that_log_probabilities_are_numbers(row: dict[str, Any], outcome: str) -> None:
    """A token of probability 0 is allowed, unless it is the best one; NaN, infinity and nothing are not."""
    bad = answer("a b c", (1, 2, 3), alternatives=(ROW, row, ROW))
    (finite, *_) = check_sanity(sound(again=[bad, bad]))

    assert (finite.name, finite.outcome) == ("finite", outcome)


def test_what_an_engine_does_not_tell_is_not_checked() -> None:
    """Without log probabilities there is no `finite`, and without a seed no `deterministic`; it says so."""
    plain = answer("a b c", (1, 2, 3))
    answers = sound(again=[plain, plain], seeded=[], reseeded=[], tells_probabilities=False, takes_seed=False)
    finite, empty, deterministic = check_sanity(answers)

    assert (finite.outcome, finite.detail) == ("not checked", "The engine does not tell log probabilities.")
    assert empty.outcome == "passed"
    assert deterministic.outcome == "not checked"
    assert "takes no seed" in deterministic.detail


def test_what_an_engine_found_out_itself_counts() -> None:
    """An engine that refuses to go on with numbers that are none has failed the check."""
    error = BackendError("no numbers", backend="engine", phase="generate", cause="not-finite")

    assert [check.outcome for check in check_sanity(Answers(), error)] == ["failed", *["not checked"] * 2]


def test_no_text_at_all_fails() -> None:
    """Blanks are no text; one prompt without an answer is odd, and two are a failure."""
    blank, full = answer(" \n", (1, 1, 1)), answer("a b c", (1, 2, 3))

    assert outcomes(sound(greedy=[blank, blank], again=[blank, blank]))[1] == "failed"
    assert outcomes(sound(greedy=[full, blank], again=[full, blank]))[1] == "passed"
    assert [odd for odd in oddities([full, blank]) if "nothing to say" in odd]


def test_one_token_over_and_over_is_odd() -> None:
    """It is no failure, since a model may have its reasons."""
    assert [odd for odd in oddities([answer("#" * 9, (7,) * 9)] * 2) if "one single token" in odd]
    assert list(oddities([answer("#" * 9, (7,) * 9), answer("a b c", (1, 2, 3) * 3)])) == []


def test_a_seed_that_gives_two_texts_fails() -> None:
    """Whoever takes a seed must repeat itself."""
    one, other = answer("a b c", (1, 2, 3)), answer("a b d", (1, 2, 4))
    check = check_sanity(sound(seeded=[one, one], reseeded=[one, other]))[2]

    assert check.outcome == "failed"
    assert "The seed 42 gives two answers" in check.detail
    assert check.texts == ("a b c", "a b d")


def test_greedy_decoding_that_gives_two_texts_fails_unless_it_was_close() -> None:
    """Rounding may decide between two tokens that are as good as each other, and between no others."""
    first = answer("a b c", (1, 2, 3))
    other = answer("a b d", (1, 2, 4), alternatives=(ROW, ROW, ROW))
    close = answer("a b d", (1, 2, 4), alternatives=(ROW, ROW, {"d": -0.7, "c": -0.71}))

    assert outcomes(sound(greedy=[first, first], again=[other, other]))[2] == "failed"
    assert outcomes(sound(greedy=[first, first], again=[close, close]))[2] == "passed"


def test_the_speed_is_the_median_of_requests_without_log_probabilities() -> None:
    """Asking for log probabilities may cost an engine time, so those requests do not count.

    Neither does the first token, which comes with the prompt: of a single one there is no speed.
    """
    slow, fast = answer("a b c", (1, 2, 3), seconds=2.0), answer("a b c", (1, 2, 3), seconds=0.2)
    one, instant = answer("a", (1,)), answer("a b c", (1, 2, 3), seconds=0.0)

    assert sound(greedy=[fast] * 2, seeded=[fast] * 2, again=[slow] * 2).tokens_per_second == pytest.approx(
        10
    )
    assert math.isnan(Answers().tokens_per_second)
    assert math.isnan(Answers(greedy=[one, instant]).tokens_per_second)


# Parity ---------------------------------------------------------------------------------------------------


def result(backend: str, text: str, path: Path = Path("m.gguf"), **rest: Any) -> ModelTestResult:
    """The result of an engine that gave this answer to both prompts."""
    said = answer(text, tuple(len(word) for word in text.split()))
    return ModelTestResult(
        **{
            "success": True,
            "backend": backend,
            "model": "m",
            "path": str(path),
            "label": f"{path.name} on {backend}",
            "fingerprint": "f",
            "answers": (said, said),
            "files": (path,),
            **rest,
        }
    )


def test_engines_that_agree() -> None:
    """The outcome is that they do, over so many tokens."""
    (parity,) = compare_results([result("a", "x yy"), result("b", "x yy")])

    assert (parity.outcome, parity.labels, parity.tokens) == ("same", ("a", "b"), 4)


def test_the_one_that_stands_out_is_named() -> None:
    """Two agree and one does not: it is told which, where, and what both said."""
    (parity,) = compare_results([result("a", "x zzz"), result("b", "x yy"), result("c", "x yy")])
    first, second = parity.differences

    assert parity.outcome == "different"
    assert (first.label, first.others, first.majority) == ("a", ("b", "c"), True)
    assert (first.parting.position, first.parting.expected, first.parting.found) == (1, "x yy", "x zzz")
    assert second.label == "a"


def test_of_two_none_stands_out() -> None:
    """With as many on either side, nobody is said to be wrong."""
    (parity,) = compare_results([result("a", "x zzz"), result("b", "x yy")])

    assert {difference.majority for difference in parity.differences} == {False}


def test_only_the_same_weights_are_compared() -> None:
    """Other content is another matter, and so is a result that failed."""
    assert compare_results([result("a", "x"), result("b", "y", fingerprint="g")]) == ()
    assert compare_results([result("a", "x"), result("b", "y", success=False)]) == ()
    assert compare_results([result("a", "x")]) == ()


@pytest.mark.parametrize(("same", "count"), [(True, 1), (False, 0)])
def test_files_of_one_fingerprint_are_compared_byte_by_byte(tmp_path: Path, same: bool, count: int) -> None:
    """A fingerprint samples: before engines are said to disagree, the files are made sure to be the same."""
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights" if same else b"weightz")
    found = compare_results([result("a", "x", one), result("a", "yy", other)])

    assert len(found) == count
    assert [parity.labels for parity in found] == [("one.gguf on a", "other.gguf on a")] * count


def test_a_file_that_has_gone_is_not_compared(tmp_path: Path) -> None:
    """Nothing can be said of bytes that can't be read any more."""
    one = tmp_path / "one.gguf"
    one.write_bytes(b"weights")

    assert compare_results([result("a", "x", one), result("a", "yy", tmp_path / "gone.gguf")]) == ()
