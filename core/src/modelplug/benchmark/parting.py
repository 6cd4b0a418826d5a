"""Where two greedy answers to one prompt part, and whether that is more than different rounding."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from modelplug.benchmark.answers import Answer

__all__ = ["CLOSE", "Parting", "nearly_tied", "part"]

CLOSE = 0.5
"""Two tokens whose log probabilities are no further apart than this may change places by rounding."""

FAR = 99.0
"""Further apart than this makes no difference."""

SHOWN = 60


@attrs.frozen(kw_only=True)
class Parting:
    """Where two answers part.

    Attributes:
        unit: What `position` counts: `token`, or `character` where an engine does not tell its tokens.
        position: The first one that differs, from 0.
        expected: What one answer has from there on, or shortly before it.
        found: What the other one has.
        rounding: Whether different rounding explains it; None if that can't be told.
        reason: How that is known, in a sentence.
    """

    unit: str
    position: int
    expected: str
    found: str
    rounding: bool | None
    reason: str


def part(expected: Answer, found: Answer) -> Parting | None:
    """Where two answers to the same prompt part; None if they are the same.

    Args:
        expected: One answer.
        found: The other one.
    """
    by_token = bool(expected.tokens and found.tokens)
    if _same(expected, found, by_token=by_token):
        return None
    texts = (expected.text, found.text)
    at = _first_difference(*texts)
    position = _first_difference(expected.tokens, found.tokens) if by_token else at
    rounding, reason = _explained(expected, found, position if by_token else None)
    # A piece of what they have in common shows where in the text it is.
    shown = [_shown(text, max(0, at - SHOWN // 3)) for text in texts]
    return Parting(
        unit="token" if by_token else "character",
        position=position,
        expected=shown[0],
        found=shown[1],
        rounding=rounding,
        reason=reason,
    )


def _same(expected: Answer, found: Answer, *, by_token: bool) -> bool:
    if expected.text != found.text:
        return False
    if not by_token or expected.tokens == found.tokens:
        return True
    # Of a model that ends by itself some engines tell the token that says so, and some do not.
    both_end = expected.finish_reason == found.finish_reason == "stop"
    shorter, longer = sorted((expected.tokens, found.tokens), key=len)
    return both_end and longer[:-1] == shorter


def _first_difference(one: str | tuple[int, ...], other: str | tuple[int, ...]) -> int:
    for place, (left, right) in enumerate(zip_longest(one, other)):
        if left != right:
            return place
    return len(one)


def _shown(text: str, start: int) -> str:
    end = start + SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")


def _explained(expected: Answer, found: Answer, position: int | None) -> tuple[bool | None, str]:
    """Whether rounding explains that the tokens at a position differ, and how that is known."""
    if expected.stats.prompt_tokens != found.stats.prompt_tokens:
        return False, (
            f"They do not even read the prompt alike: {expected.stats.prompt_tokens} tokens against "
            f"{found.stats.prompt_tokens}."
        )
    unknown = "Whether different rounding explains it can't be told: "
    if position is None:
        return None, f"{unknown}an engine does not tell its tokens."
    if not (position < len(expected.tokens) and position < len(found.tokens)):
        return None, f"{unknown}one answer ends where the other goes on."
    rows = [_row(answer, position) for answer in (expected, found)]
    if not all(rows):
        return None, f"{unknown}an engine does not tell how probable the tokens were."
    first, second = (max(row, key=row.__getitem__) for row in rows)
    if first == second:
        return None, f"{unknown}both tokens have the same text."
    # A token that is not in a row is at least as far behind as the last one that is.
    leads = [
        max(row.values()) - row.get(other, min(row.values()))
        for row, other in zip(rows, (second, first), strict=True)
    ]
    apart = min(sum(leads), FAR)
    if apart > CLOSE:
        return False, (
            f"The log probabilities of the two tokens are at least {apart:.2g} apart, of both engines "
            "together: different rounding does not explain it."
        )
    if second in rows[0] and first in rows[1]:
        return True, (
            f"Both tokens were nearly as probable (log probabilities {apart:.2g} apart, of both engines "
            "together): different rounding explains it."
        )
    return None, f"{unknown}the token of one engine is not among the few most probable ones of the other."


def nearly_tied(answer: Answer, position: int) -> bool:
    """Whether at a position the two best tokens were so close that rounding may choose either.

    Args:
        answer: The answer; where it tells no log probabilities, nothing is known to be close.
        position: Of the token.
    """
    best = sorted(_row(answer, position).values(), reverse=True)[:2]
    return len(best) > 1 and best[0] - best[1] <= CLOSE


def _row(answer: Answer, position: int) -> dict[str, float]:
    """The log probabilities at a position; none if they can't be matched with the tokens."""
    if len(answer.alternatives) != len(answer.tokens) or position >= len(answer.tokens):
        return {}
    row = answer.alternatives[position]
    known = {text: float(value) for text, value in row.items() if isinstance(value, (int, float))}
    # A token that is ruled out altogether has minus infinity; the best one must have a number.
    usable = len(known) == len(row) and not any(map(math.isnan, known.values()))
    return known if usable and known and math.isfinite(max(known.values())) else {}
