"""Suggestions from how models are used: answers cut short, and models loaded for one request each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelplug.history.insights.evidence import Evidence, Suggestion, grouped
from modelplug.history.records import MINIMUM_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["answers_cut_short", "mostly_loading"]

LOOKED_AT = 50
ENOUGH_RUNS = 10
CUT_SHARE = 0.6
SAME_SHARE = 0.8
FEWEST_SESSIONS = 5
LONG_LOAD = 1.0


def answers_cut_short(evidence: Evidence) -> Iterator[Suggestion]:
    """Most answers end at the same number of tokens, because that is as many as are allowed."""
    runs = [run for run in evidence.used if run.success and run.finish_reason in ("stop", "length")][
        :LOOKED_AT
    ]
    cut = [run for run in runs if run.finish_reason == "length"]
    if len(runs) < ENOUGH_RUNS or len(cut) < CUT_SHARE * len(runs):
        return
    limit, same = Counter(run.completion_tokens or 0 for run in cut).most_common(1)[0]
    # Who allows only a few tokens wants an answer in a word.
    if same < SAME_SHARE * len(cut) or limit < MINIMUM_TOKENS:
        return
    yield Suggestion(
        kind="length",
        text=f"{len(cut)} of the last {len(runs)} answers ended because {limit} tokens were allowed.",
        advice=f"Set generation.max_tokens to {2 * limit}, if they were to be longer.",
        changes={"generation.max_tokens": 2 * limit},
        runs=tuple(run.id for run in cut if run.completion_tokens == limit),
    )


def mostly_loading(evidence: Evidence) -> Iterator[Suggestion]:
    """Models that take longer to load than to answer, and are loaded anew for each request."""
    recorded = (run for run in evidence.used if run.session and run.load_seconds is not None)
    for fingerprint, runs in grouped(recorded, lambda run: run.fingerprint).items():
        sessions = list(grouped(runs, lambda run: run.session).values())[:LOOKED_AT]
        single = [session[0] for session in sessions if len(session) == 1 and session[0].total_seconds]
        loading = sum(run.load_seconds or 0.0 for run in single)
        answering = sum(run.total_seconds or 0.0 for run in single)
        often = len(single) >= FEWEST_SESSIONS and len(single) > 0.5 * len(sessions)
        if not often or loading <= answering or loading < LONG_LOAD * len(single):
            continue
        share = 100 * loading / (loading + answering)
        yield Suggestion(
            kind="loading",
            text=(
                f"{evidence.name(fingerprint)} was loaded {len(single)} times for one request each, and "
                f"loading took {share:.0f} % of the time."
            ),
            advice="Keep it loaded for several requests: `modelplug chat`, or one `modelplug.load`.",
            runs=tuple(run.id for run in single),
        )
