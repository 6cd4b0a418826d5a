"""`modelplug compare`: what changed since a baseline, and how sure that is."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.measuring import measuring, measuring_options, output_option, save_outputs
from modelplug.cli.rendering import echo_heading, echo_pairs, wrapped
from modelplug.cli.tables import echo_table
from modelplug.errors import EXIT_DONE, EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from modelplug.benchmark.comparer import Comparison
    from modelplug.benchmark.comparison import CandidateComparison, MetricComparison
    from modelplug.benchmark.records import BenchmarkReport
    from modelplug.cli.context import App

__all__ = ["command"]

_FAIL_ON = re.compile(r"regression(?::(\d+(?:\.\d+)?)\s*%?)?")
TEST = (
    "A verdict needs a Mann-Whitney U test of the rounds' medians whose P, after Holm's correction for the "
    "number of figures, is at most 0.05. EFFECT is Cliff's delta."
)
COLUMNS = ("FIGURE", "BASELINE", "NOW", "CHANGE", "INTERVAL", "P", "EFFECT", "VERDICT")


@click.command("compare")
@click.argument("baseline")
@click.argument("new", required=False)
@click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="Measure this in place of the baseline's."
)
@measuring_options
@click.option(
    "--fail-on",
    metavar="regression[:N%]",
    help="Exit with 1 if a figure has regressed, by N percent or more.",
)
@output_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    /,
    *,
    baseline: str,
    new: str | None,
    fail_on: str | None,
    outputs: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Compare NEW with BASELINE; without NEW, measure now what the baseline measured.

    Both are files that `modelplug bench` wrote, or numbers of benchmarks in the history.
    """
    from modelplug.benchmark.comparer import compare
    from modelplug.benchmark.reports import check_format
    from modelplug.benchmark.stored import stored_report

    least = _least_regression(fail_on)
    for path in outputs:
        check_format(path)
    base = stored_report(baseline, app.runtime)
    report = stored_report(new, app.runtime) if new is not None else _measured(app, base, options)
    comparison = compare(base, report)
    failed = () if least is None else comparison.regressions(least)
    if as_json:
        named = [{"candidate": candidate.label, "metric": metric.name} for candidate, metric in failed]
        app.echo_json({**comparison.to_dict(), "failed_on": named})
    else:
        _print(comparison)
    save_outputs(app, report, outputs, quiet=as_json)
    if failed:
        count = "one figure has" if len(failed) == 1 else f"{len(failed)} figures have"
        click.echo(f"{count} regressed by {least:g} % or more", err=True)
        return EXIT_FAILED
    return EXIT_DONE


def _least_regression(text: str | None) -> float | None:
    if text is None:
        return None
    match = _FAIL_ON.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"--fail-on can't be {text!r}",
            why="it names what fails, and from how many percent on",
            advice="For example: --fail-on regression:5%",
        )
    return float(match[1] or 0)


def _measured(app: App, base: BenchmarkReport, options: dict[str, Any]) -> BenchmarkReport:
    with measuring(app) as benchmark:
        benchmark.run_like(
            base,
            models=options["models"],
            quick=options["quick"],
            rounds=options["rounds"],
            budget=options["budget"],
            deadline=options["timeout"],
        )
    report = benchmark.report
    assert report is not None
    if report.interrupted:
        raise KeyboardInterrupt
    if benchmark.failure is not None:
        raise benchmark.failure
    return report


def _print(comparison: Comparison) -> None:
    # What makes the figures hard to compare comes before the figures.
    for difference in comparison.differences:
        click.echo(wrapped(difference, indent=""))
    for candidate in comparison.candidates:
        _print_candidate(candidate)
    echo_heading("Altogether")
    echo_pairs(
        (f"  {label}", _percent(value))
        for label, value in (
            ("Loading time", comparison.loading_time_change),
            ("Inference speed", comparison.inference_speed_change),
            ("Memory usage", comparison.memory_usage_change),
            ("GPU utilisation", comparison.gpu_utilization_change),
            ("Overall improvement", comparison.overall_improvement),
        )
    )
    click.echo()
    click.echo(wrapped(TEST, indent=""))


def _print_candidate(candidate: CandidateComparison) -> None:
    title = candidate.label
    if candidate.base_label != candidate.label:
        title += f", against {candidate.base_label}"
    echo_heading(title)
    for difference in candidate.differences:
        click.echo(wrapped(difference, indent="  "))
    echo_table(COLUMNS, map(_row, candidate.metrics))
    for metric in candidate.metrics:
        remarks = [
            *([f"{metric.reason[:1].upper()}{metric.reason[1:]}."] if metric.reason else []),
            *metric.remarks,
        ]
        if remarks:
            click.echo(wrapped(f"{metric.label}: {' '.join(remarks)}", indent="  "))


def _row(metric: MetricComparison) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import value_text

    interval = ""
    if math.isfinite(metric.low) and metric.confidence > 0:
        interval = f"{metric.low:+.1f} to {metric.high:+.1f} %"
        interval += "" if metric.confidence >= 0.95 else f" ({100 * metric.confidence:.0f} % only)"
    return (
        metric.label,
        value_text(metric.base, metric.unit),
        value_text(metric.new, metric.unit),
        _percent(metric.change),
        interval,
        f"{metric.corrected:.3g}" if math.isfinite(metric.corrected) else "",
        f"{metric.effect:+.2f}" if math.isfinite(metric.effect) else "",
        metric.verdict,
    )


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if math.isfinite(value) else "unknown"
