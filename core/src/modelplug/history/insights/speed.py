"""Suggestions about speed: a faster engine, a better number of threads, and what has become slower."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelplug.history.insights.evidence import Evidence, Suggestion, grouped
from modelplug.history.samples import Samples, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.history.records import RunRecord

__all__ = ["better_threads", "faster_engine", "slower_than_before"]

FEWEST_RUNS = 3
"""So many runs with each of two choices are needed to compare them."""

RECENT = 10
"""Of these runs, the newest, the choice made most often is the one in use."""

COMPARED_HALVES = 6
"""So many runs before and after are needed to say that something has become slower."""

SLOWER = 0.9


def faster_engine(evidence: Evidence) -> Iterator[Suggestion]:
    """Models that ran clearly faster on another engine than on the one that is used for them."""
    better: dict[str, dict[tuple[str, str], list[Suggestion]]] = {}
    for fingerprint, runs in grouped(_telling(evidence.runs), lambda run: run.fingerprint).items():
        used, best, known = _choice(runs, "backend")
        if best is None or used is None:
            continue
        name, format_ = evidence.name(fingerprint), evidence.format(fingerprint)
        suggestion = Suggestion(
            kind="engine",
            text=(
                f"{name} runs at {_speed(known[best])} on {best}, and at {_speed(known[used])} on {used}, "
                "which is used for it."
            ),
            advice=f"Run it with --backend {best}.",
            runs=tuple(run.id for run in runs if run.backend in (used, best)),
        )
        better.setdefault(format_, {}).setdefault((used, best), []).append(suggestion)
    for format_, pairs in better.items():
        # The settings have one order for a format: it is proposed only where all of its models agree.
        agreed = format_ and len(pairs) == 1
        for (used, best), suggestions in pairs.items():
            for one in suggestions:
                yield _with_order(one, format_, best, used) if agreed else one


def _with_order(suggestion: Suggestion, format_: str, best: str, used: str) -> Suggestion:
    import attrs

    return attrs.evolve(
        suggestion,
        advice=f"Put {best} before {used} for {format_} files, or run it with --backend {best}.",
        changes={f"fallback_order_by_format.{format_}": [best, used]},
    )


def better_threads(evidence: Evidence) -> Iterator[Suggestion]:
    """Engines that ran a model clearly faster with another number of threads than the one that is used."""
    groups = grouped(
        (run for run in _telling(evidence.runs) if run.threads is not None and run.device == "cpu"),
        lambda run: (run.fingerprint, run.backend),
    )
    for (fingerprint, backend), runs in groups.items():
        used, best, known = _choice(runs, "threads")
        if best is None or used is None:
            continue
        yield Suggestion(
            kind="threads",
            text=(
                f"{evidence.name(fingerprint)} runs at {_speed(known[best])} with {best} threads on "
                f"{backend}, and at {_speed(known[used])} with {used}."
            ),
            advice=f"Set backends.{backend}.threads to {best}.",
            changes={f"backends.{backend}.threads": int(best)},
            runs=tuple(run.id for run in runs if str(run.threads) in (used, best)),
        )


def slower_than_before(evidence: Evidence) -> Iterator[Suggestion]:
    """What has become clearly slower without anything having been asked for differently."""
    groups = grouped(
        _telling(evidence.runs),
        lambda run: (run.fingerprint, run.backend, run.device, run.gpu_layers, run.threads),
    )
    for (fingerprint, backend, *_), runs in groups.items():
        lately, before = runs[:COMPARED_HALVES], runs[COMPARED_HALVES : 4 * COMPARED_HALVES]
        now, then = _samples(lately), _samples(before)
        if now is None or then is None or min(now.count, then.count) < COMPARED_HALVES:
            continue
        if not then.clearly_above(now) or now.median > SLOWER * then.median:
            continue
        versions = {run.engine_version for run in before}, {run.engine_version for run in lately}
        cause = (
            f" Its engine was {_listed(versions[0])} before, and is {_listed(versions[1])} now."
            if versions[0].isdisjoint(versions[1])
            else ""
        )
        yield Suggestion(
            kind="slower",
            text=(
                f"{evidence.name(fingerprint)} runs at {_speed(now)} on {backend} now, and ran at "
                f"{_speed(then)} before.{cause}"
            ),
            advice="Look for what else uses the machine (`modelplug doctor`)"
            + (", or go back to that version." if cause else "."),
            runs=tuple(run.id for run in (*lately, *before)),
        )


def _telling(runs: Sequence[RunRecord]) -> Iterator[RunRecord]:
    return (run for run in runs if run.tokens_per_second is not None)


def _choice(runs: list[RunRecord], attribute: str) -> tuple[str | None, str | None, dict[str, Samples]]:
    """The choice in use, the one that is clearly faster than it (or None), and what each was measured at."""
    machine = runs[0].machine
    here = [run for run in runs if run.machine in ("", machine)]
    groups = grouped(here, lambda run: str(getattr(run, attribute)))
    known = {
        choice: samples
        for choice, group in groups.items()
        if (samples := _samples(group)) is not None and samples.count >= FEWEST_RUNS
    }
    lately = [str(getattr(run, attribute)) for run in here if run.purpose == "use"][:RECENT]
    used = Counter(lately).most_common(1)[0][0] if lately else ""
    if used not in known:
        return None, None, known
    faster = [choice for choice, samples in known.items() if samples.clearly_above(known[used])]
    return used, max(faster, key=lambda choice: known[choice].median, default=None), known


def _samples(runs: list[RunRecord]) -> Samples | None:
    return summarise(speed for run in runs if (speed := run.tokens_per_second) is not None)


def _speed(samples: Samples) -> str:
    value = samples.median
    return f"{value:,.0f} tokens/s" if value >= 100 else f"{value:.3g} tokens/s"


def _listed(versions: set[str]) -> str:
    return ", ".join(sorted(version or "of an unknown version" for version in versions))
