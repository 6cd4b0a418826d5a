"""The part of the page of results about language models."""

from __future__ import annotations

import statistics

from comparison.page import (
    NAMES,
    OURS,
    Runs,
    made_with,
    mean_and_spread,
    models_in,
    seeds_of,
    spread,
    table,
    verdict,
)

__all__ = ["quality"]

LEAD_OVER_LLAMA = 0.3
COST_WITHOUT_MEMORY = 0.1


def mamba_scan(runs: Runs) -> str:
    """Which scan the Mamba ran with."""
    scan, of_the_library = runs["mamba_scan"], "Mamba is made of mambapy's blocks with the library's scan"
    if scan["kind"] != "compiled":
        return f"{of_the_library}, as on a GPU or without a C compiler."
    here = (
        "a compiled, fused one, which differs from it by "
        f"{scan['difference']:.1e} at most, gradients included."
    )
    if any(run.get("device", "cpu") != "cpu" for run in runs.values()):
        return f"{of_the_library}; on the CPU, where times are measured, with {here}"
    return f"{of_the_library} replaced by {here}"


def quality_targets(runs: Runs, kind: str) -> list[str]:
    """What was aimed at, and whether it was reached."""
    losses = {name: [run["loss"] for run in seeds_of(runs, f"{kind}/{name}")] for name in NAMES}
    mean = {name: statistics.fmean(values) for name, values in losses.items() if values}
    lines = []
    if OURS in mean and "llama" in mean:
        lead = mean["llama"] - mean[OURS]
        claim = f"its loss is below Llama's by at least {LEAD_OVER_LLAMA} nats"
        lines.append(verdict(lead >= LEAD_OVER_LLAMA, claim, f"by {lead:.3f}"))
    if OURS in mean and "mamba" in mean:
        lead, noise = mean["mamba"] - mean[OURS], max(spread(losses[OURS]), spread(losses["mamba"]))
        claim = "its loss is below Mamba's by more than the seeds differ"
        lines.append(verdict(lead > noise, claim, f"by {lead:.3f}, and seeds differ by up to {noise:.3f}"))
    if OURS in mean:
        ours = seeds_of(runs, f"{kind}/{OURS}")
        cost = min(run["loss_without_memory"] - run["loss"] for run in ours)
        claim = f"without its memory it loses at least {COST_WITHOUT_MEMORY} nats"
        lines.append(verdict(cost >= COST_WITHOUT_MEMORY, claim, f"at least {cost:.3f} with every seed"))
    return [*lines, ""]


def time_targets(runs: Runs) -> list[str]:
    """Whether a step takes no longer than with the others."""
    if "timing" not in runs:
        return []
    times = runs["timing"]["models"]
    lines = []
    for name in ("llama", "mamba"):
        ratio = times[OURS]["least"] / times[name]["least"]
        claim = f"a step takes no longer than with {NAMES[name]}"
        lines.append(verdict(ratio <= 1, claim, f"{ratio:.2f} times as long, the least of each"))
    rows = []
    for name, time in times.items():
        clocks = ("least", "median", "processor_least", "processor_median")
        rows.append([NAMES[name], *(f"{time[clock]:.0f}" for clock in clocks)])
    head = ["ms a training step", "least", "median", "processor time, least", "median"]
    return [
        "### Time",
        "",
        f"On {runs['timing']['device']}, {runs['timing']['threads']} thread(s), the models in turn:",
        "",
        *lines,
        "",
        *table(head, rows),
    ]


def quality_table(runs: Runs, kind: str) -> list[str]:
    """The losses of all models."""
    rows = []
    for name in models_in(runs, f"{kind}/"):
        found = seeds_of(runs, f"{kind}/{name}")
        costs = [run["loss_without_memory"] - run["loss"] for run in found if "loss_without_memory" in run]
        rows.append(
            [
                NAMES[name],
                f"{found[0]['parameters']:,}",
                f"{found[0]['rate']:g}",
                f"{found[0]['dropout']:g}",
                f"{statistics.fmean(run['training_loss'] for run in found):.3f}",
                mean_and_spread([run["loss_half_way"] for run in found]),
                mean_and_spread([run["loss"] for run in found]),
                ", ".join(f"{run['loss']:.3f}" for run in found),
                f"{statistics.fmean(costs):+.3f}" if costs else "-",
            ]
        )
    head = [
        "model",
        "parameters",
        "rate",
        "dropout",
        "training",
        "half-way",
        "end",
        "each seed",
        "memory off",
    ]
    return table(head, rows)


# A model, the one it differs from, and in what.
PARTS = (
    ("resnet-bk-no-copy", OURS, "Without the copy memory", "with it"),
    ("resnet-bk-free-0", "resnet-bk-no-copy", "With a potential in all heads", "with one in no head"),
    (
        "resnet-bk-free-half",
        "resnet-bk-no-copy",
        "With a potential in half of the heads",
        "with one in no head",
    ),
)


def parts(runs: Runs, kind: str) -> list[str]:
    """What the copy memory, and heads with a potential, are good for."""
    lines = []
    for name, base, change, other_way in PARTS:
        losses = [
            [runs[f"{kind}/{model}/{seed}"]["loss"] for model in (name, base)]
            for seed in range(len(seeds_of(runs, f"{kind}/{name}")))
            if f"{kind}/{base}/{seed}" in runs
        ]
        if losses:
            difference = statistics.fmean(changed - usual for changed, usual in losses)
            noise = max(spread(list(of_one)) for of_one in zip(*losses, strict=True))
            lines.append(
                f"- {change} the loss is {abs(difference):.3f} {'higher' if difference > 0 else 'lower'} "
                f"than {other_way} "
                f"(mean over {len(losses)} seed(s), which differ by up to {noise:.3f})."
            )
    return [*lines, ""] if lines else []


def tuning_table(runs: Runs, kind: str) -> list[str]:
    """The losses of all that was tried: a column for each rate, a row for each model and dropout."""
    tried: dict[tuple[str, float], dict[float, float]] = {}
    for name in models_in(runs, f"{kind}/"):
        for run in seeds_of(runs, f"{kind}/{name}"):
            tried.setdefault((name, run["dropout"]), {})[run["rate"]] = run["loss"]
    rates = sorted({rate for losses in tried.values() for rate in losses})
    rows = []
    for (name, dropout), losses in sorted(
        tried.items(), key=lambda entry: (list(NAMES).index(entry[0][0]), entry[0][1])
    ):
        cells = [f"{losses[rate]:.3f}" if rate in losses else "-" for rate in rates]
        rows.append([NAMES[name], f"{dropout:g}", *cells])
    return table(["model", "dropout", *(f"{rate:g}" for rate in rates)], rows)


def quality_method(content: Runs) -> str:
    """How the losses were measured."""
    settings = content["settings"]
    return (
        f"`{settings['text']}`, a byte-level BPE of {settings['vocabulary']} tokens trained on the training "
        f"part; {settings['training_tokens']:,} tokens to train on, {settings['held_out_tokens']:,} held "
        f"out. Steps of {settings['rows']} texts of {settings['length']} tokens, the "
        "same for all models; AdamW (0.9, 0.95), weight decay 0.1 on matrices, PyTorch's one-cycle schedule "
        "of rate and momentum, gradients clipped to 1; projections begin at N(0, 0.02). Each model has the "
        f"rate that was best in {settings['tuning_steps']} steps without dropout; for {settings['steps']} "
        "steps, which read the text several times, the rate and the dropout of what its layers add that "
        "were best, found in turns; always with seed 0. Losses are nats per held-out token: the mean over "
        "seeds, and in brackets from the least to the largest. Memory off is the same trained model with "
        "nothing read from its states. "
        f"{mamba_scan(content['runs'])}"
    )


def losses_after(content: Runs, kind: str, steps: int) -> list[str]:
    """The part about training for some steps."""
    runs, settings = content["runs"], content["settings"]
    if not models_in(runs, f"{kind}/"):
        return []
    passes = steps * settings["rows"] * settings["length"] / settings["training_tokens"]
    return [
        f"### After {steps} steps: {passes:.1f} times the training text",
        "",
        *quality_targets(runs, kind),
        *quality_table(runs, kind),
        *parts(runs, kind),
    ]


def quality(content: Runs) -> list[str]:
    """The part about language models."""
    runs, settings = content["runs"], content["settings"]
    return [
        "## Language model",
        "",
        quality_method(content),
        "",
        *losses_after(content, "training", settings["steps"]),
        *losses_after(content, "short", settings["tuning_steps"]),
        *time_targets(runs),
        "### Tuning",
        "",
        f"Held-out loss after {settings['tuning_steps']} steps by learning rate, seed 0, no dropout:",
        "",
        *tuning_table(runs, "short-tuning"),
        f"Held-out loss after {settings['steps']} steps by learning rate and dropout, seed 0:",
        "",
        *tuning_table(runs, "tuning"),
        "### Made with",
        "",
        *made_with(content),
    ]
