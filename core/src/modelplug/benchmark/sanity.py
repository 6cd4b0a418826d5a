"""Whether what a model said makes sense: finite, not empty, and the same again under a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.answers import SEED
from modelplug.benchmark.parting import nearly_tied, part
from modelplug.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modelplug.benchmark.answers import Answer, Answers
    from modelplug.errors import ModelplugError

__all__ = ["CHECKS", "FAILED", "NOT_CHECKED", "PASSED", "Check", "check_sanity", "oddities"]

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"
CHECKS = ("finite", "non-empty", "deterministic")
"""The checks, in the order in which a failed one is told."""

LEAST_REPEATED = 8


@attrs.frozen(kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: `finite`, `non-empty` or `deterministic`.
        outcome: `passed`, `failed` or `not checked`.
        detail: What was found, or why it was not checked, in a sentence that quotes no answer.
        texts: The answers that contradict each other, from shortly before they part.
    """

    name: str
    outcome: str
    detail: str
    texts: tuple[str, ...] = ()


def check_sanity(answers: Answers, error: ModelplugError | None = None) -> tuple[Check, ...]:
    """Every check, as far as what was answered allows it.

    Args:
        answers: What the model said; may end early.
        error: What ended it; None if it came to its end.
    """
    if isinstance(error, BackendError) and error.cause == "not-finite":
        finite = Check(name="finite", outcome=FAILED, detail="The engine found it out by itself.")
    else:
        finite = _finite(answers)
    return finite, _non_empty(answers), _deterministic(answers)


def _finite(answers: Answers) -> Check:
    if not answers.tells_probabilities and answers.greedy:
        return _not_checked("finite", "The engine does not tell log probabilities.")
    rows = [row for answer in answers.again for row in answer.alternatives]
    if not rows:
        return _not_checked("finite", "No log probability was told.")
    bad = [row for row in rows if not _are_logarithms(row)]
    if bad:
        value = next(
            value for value in bad[0].values() if not isinstance(value, float) or not math.isfinite(value)
        )
        shown = "null" if value is None else repr(value)
        detail = f"The log probabilities of {len(bad)} of {len(rows)} tokens are no finite numbers ({shown})."
        return Check(name="finite", outcome=FAILED, detail=detail)
    detail = f"The log probabilities of {len(rows)} tokens are finite."
    return Check(name="finite", outcome=PASSED, detail=detail)


def _are_logarithms(row: Mapping[str, object]) -> bool:
    """Whether these can be the logarithms of probabilities."""
    numbers = [float(value) for value in row.values() if isinstance(value, (int, float))]
    if len(numbers) < len(row) or any(math.isnan(number) or number == math.inf for number in numbers):
        return False
    # A token that is ruled out altogether has the probability 0; the best one can't.
    return not numbers or max(numbers) > -math.inf


def _non_empty(answers: Answers) -> Check:
    empty = [answer for answer in answers.greedy if not answer.text.strip()]
    if not answers.greedy:
        return _not_checked("non-empty", "There was no answer.")
    if len(empty) == len(answers.greedy):
        counts = " and ".join(str(answer.stats.completion_tokens) for answer in empty)
        detail = f"Its answers have no text ({counts} tokens)."
        return Check(name="non-empty", outcome=FAILED, detail=detail)
    said = f"It continued {len(answers.greedy) - len(empty)} of {len(answers.greedy)} prompts."
    return Check(name="non-empty", outcome=PASSED, detail=said)


def _deterministic(answers: Answers) -> Check:
    name = "deterministic"
    for first, second in zip(answers.greedy, answers.again, strict=False):
        parting = part(first, second)
        # Asking for log probabilities, or what is in a cache, may round otherwise.
        if parting is not None and not (parting.unit == "token" and nearly_tied(second, parting.position)):
            return _contradiction(f"Greedy decoding gives two answers to {first.prompt!r}", first, second)
    for first, second in zip(answers.seeded, answers.reseeded, strict=False):
        if first.text != second.text:
            return _contradiction(f"The seed {SEED} gives two answers to {first.prompt!r}", first, second)
    if answers.greedy and not answers.takes_seed:
        return _not_checked(name, "The engine takes no seed; greedy decoding gave the same text twice.")
    if not answers.reseeded:
        return _not_checked(name, "The second answers are missing.")
    return Check(name=name, outcome=PASSED, detail=f"The seed {SEED} gave the same text twice.")


def _contradiction(what: str, first: Answer, second: Answer) -> Check:
    parting = part(first, second)
    texts = () if parting is None else (parting.expected, parting.found)
    return Check(name="deterministic", outcome=FAILED, detail=f"{what}.", texts=texts)


def _not_checked(name: str, why: str) -> Check:
    return Check(name=name, outcome=NOT_CHECKED, detail=why)


def oddities(answers: Sequence[Answer]) -> Iterator[str]:
    """Sentences on what is no failure, but seldom a good sign.

    Args:
        answers: Greedy answers.
    """
    told = [answer.tokens for answer in answers if len(answer.tokens) >= LEAST_REPEATED]
    if told and all(len(set(tokens)) == 1 for tokens in told):
        yield "Its answers repeat one single token: the weights may be damaged."
    ended = [answer.prompt for answer in answers if not answer.text.strip()]
    if ended and len(ended) < len(answers):
        yield f"It has nothing to say after {' and '.join(map(repr, ended))}."
