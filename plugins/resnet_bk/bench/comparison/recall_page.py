"""The part of the page of results about recall."""

from __future__ import annotations

import statistics

from comparison.page import NAMES, OURS, Runs, made_with, models_in, seeds_of, spread, table, verdict

__all__ = ["recall"]

RECALL_TARGETS = {"64": 0.95, "512": 0.95, "2048": 0.80}


def recall_targets(runs: Runs) -> list[str]:
    """What was aimed at, and whether every seed reached it."""
    ours = seeds_of(runs, OURS)
    lines = []
    for length, target in RECALL_TARGETS.items():
        found = [run["accuracy"][length] for run in ours]
        if found:
            claim = f"at least {target:.0%} right at {length} tokens, with every seed"
            lines.append(
                verdict(min(found) >= target, claim, f"least {min(found):.1%} of {len(found)} seed(s)")
            )
    return [*lines, ""]


def recall_rows(runs: Runs, lengths: list[str]) -> list[list[str]]:
    """The accuracies of each run."""
    rows = []
    for name in models_in(runs, ""):
        for run in seeds_of(runs, name):
            off = run.get("accuracy_without_memory")
            rows.append(
                [
                    NAMES[name],
                    str(run["seed"]),
                    f"{run['parameters']:,}",
                    str(run["steps"]),
                    *(f"{run['accuracy'][length]:.1%}" for length in lengths),
                    " / ".join(f"{off[length]:.1%}" for length in lengths) if off else "-",
                ]
            )
    return rows


def recall_comparison(runs: Runs, lengths: list[str]) -> list[str]:
    """How each other model does beside ours, at the greatest length."""
    longest = lengths[-1]
    found = {name: [run["accuracy"][longest] for run in seeds_of(runs, name)] for name in models_in(runs, "")}
    if OURS not in found:
        return []
    ours, lines = statistics.fmean(found[OURS]), []
    for name, accuracies in found.items():
        if name == OURS:
            continue
        mean, noise = statistics.fmean(accuracies), max(spread(accuracies), spread(found[OURS]))
        if abs(mean - ours) <= noise:
            word = f"like {NAMES[OURS]}, within what seeds differ by"
        else:
            word = f"{'better' if mean > ours else 'worse'} than {NAMES[OURS]}"
        lines.append(
            f"- {NAMES[name]}: {word} ({mean:.1%} against {ours:.1%} right at {longest} "
            f"tokens, means over the seeds, which differ by up to {noise:.1%})."
        )
    return [*lines, ""]


def recall_method(settings: Runs) -> str:
    """What the task is, and how models learn it."""
    short, long = settings["trained_at"]
    return (
        f"{settings['pairs']} pairs of a key and its value ({settings['keys']} keys, {settings['values']} "
        f"values, {settings['noises']} tokens of noise) in the first 32 tokens, noise, and in the last 32 a "
        f"question for every key, twice, with noise after each. {settings['layers']} layers of width 128; "
        f"trained at {short} tokens for {settings['short_steps']} steps, then at {short} and {long} in "
        f"turn, {settings['rows']} texts a step, highest rate {settings['rate']:g}, until 99.5 % are right "
        f"at both lengths or {settings['steps']} steps are done; never trained beyond {long}. Guessing "
        f"gives {1 / settings['values']:.1%}. Tested on {settings['test_texts']} texts of each length."
    )


def recall(content: Runs) -> list[str]:
    """The part about recall."""
    runs, settings = content["runs"], content["settings"]
    lengths = [str(length) for length in settings["tested_at"]]
    tested = [f"at {length}" for length in lengths]
    return [
        "## Recall",
        "",
        recall_method(settings),
        "",
        *recall_targets(runs),
        *recall_comparison(runs, lengths),
        *table(["model", "seed", "parameters", "steps", *tested, "memory off"], recall_rows(runs, lengths)),
        "### Made with",
        "",
        *made_with(content),
    ]
