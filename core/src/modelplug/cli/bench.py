"""`modelplug bench`: measure how fast models load and run, and how much memory they take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.measuring import (
    measuring,
    measuring_options,
    output_option,
    save_outputs,
    settings_of,
)
from modelplug.cli.rendering import echo_heading, wrapped
from modelplug.cli.tables import echo_table
from modelplug.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Metric
    from modelplug.cli.context import App

__all__ = ["command", "print_report"]


@click.command("bench")
@click.argument("models", metavar="MODEL...", nargs=-1)
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="May be repeated; `all` for all.")
@click.option("--workload", "workloads", multiple=True, metavar="NAME", help="Measure this; may be repeated.")
@click.option("--list", "as_list", is_flag=True, help="List the workloads, and measure nothing.")
@measuring_options
@click.option("--gpu-layers", type=click.IntRange(min=-1), help="Layers on the GPU: -1 all, 0 none.")
@click.option("--context-size", type=click.IntRange(min=1), help="Tokens the context holds.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Prompt tokens evaluated at once.")
@click.option("--set", "extra", multiple=True, metavar="NAME=VALUE", help="A setting of the backend.")
@click.option("--force", is_flag=True, help="Try even what should not fit into memory.")
@output_option
@click.option("--from", "source", metavar="RESULT", help="Show an earlier result: a file, or its number.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(
    app: App,
    /,
    *,
    models: tuple[str, ...],
    as_list: bool,
    source: str | None,
    as_json: bool,
    outputs: tuple[Path, ...],
    **options: Any,
) -> int:
    """Measure MODEL with the backend that suits it, or with every --backend named.

    Each MODEL is a path, `demo`, or a registered name. Several candidates are measured turn by turn. The
    result is kept in the history; `modelplug compare` compares it with another one.
    """
    from modelplug.benchmark.reports import check_format

    for path in outputs:
        check_format(path)
    if as_list:
        return _list(app, as_json=as_json)
    if source is not None:
        from modelplug.benchmark.stored import stored_report

        report = stored_report(source, app.runtime)
        _show(app, report, outputs, as_json=as_json)
        return EXIT_DONE
    if not models:
        raise UsageError(
            "no model is named",
            why="a benchmark measures one or several models",
            advice="For example: `modelplug bench demo`.",
        )
    return _measure(app, models, outputs, options, as_json=as_json)


def _list(app: App, *, as_json: bool) -> int:
    from modelplug.benchmark.workload import known_workloads

    workloads = known_workloads(app.runtime.plugins).values()
    if as_json:
        import attrs

        app.echo_json([attrs.asdict(workload) for workload in workloads])
    else:
        columns = ("WORKLOAD", "PROMPT", "GENERATED", "WHAT")
        rows = [(w.name, w.prompt_tokens, w.generate_tokens, w.description) for w in workloads]
        echo_table(columns, rows, numbers=("PROMPT", "GENERATED"))
    return EXIT_DONE


def _measure(
    app: App, models: tuple[str, ...], outputs: tuple[Path, ...], options: dict[str, Any], *, as_json: bool
) -> int:
    with measuring(app) as benchmark:
        benchmark.run(
            models,
            backends=options["backends"],
            workloads=options["workloads"],
            quick=options["quick"],
            rounds=options["rounds"],
            budget=options["budget"],
            deadline=options["timeout"],
            force=options["force"],
            settings=settings_of(options),
        )
    report = benchmark.report
    assert report is not None
    if benchmark.failure is not None and not report.interrupted:
        raise benchmark.failure
    _show(app, report, outputs, as_json=as_json)
    if report.interrupted:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    failed = any(candidate.status == "failed" for candidate in report.candidates)
    return EXIT_FAILED if failed else EXIT_DONE


def _show(app: App, report: BenchmarkReport, outputs: tuple[Path, ...], *, as_json: bool) -> None:
    # Files come last: that one can't be written must not keep the figures from being seen.
    if as_json:
        app.echo_json(report.to_dict())
    else:
        print_report(report)
    save_outputs(app, report, outputs, quiet=as_json)


def print_report(report: BenchmarkReport) -> None:
    """Print a benchmark for people: figures side by side, then what to know about them."""
    from modelplug.benchmark.reports.wording import protocol_text

    metrics = {metric.name: metric for c in report.candidates for metric in c.metrics}
    measured = [candidate for candidate in report.candidates if candidate.metrics]
    if len(measured) == 1:
        rows = [_alone(metric) for metric in measured[0].metrics]
        echo_table(("FIGURE", measured[0].label.upper(), "INTERVAL", "STABLE"), rows)
    elif measured:
        columns = ("FIGURE", *(candidate.label for candidate in measured))
        echo_table(columns, [_beside(metric, measured) for metric in metrics.values()])
    for candidate in report.candidates:
        _print_remarks(candidate)
    click.echo()
    click.echo(wrapped(protocol_text(report), indent=""))


def _alone(metric: Metric) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import interval_text, value_text

    stable = "yes" if metric.stable else "no"
    return metric.label, value_text(metric.median, metric.unit), interval_text(metric), stable


def _beside(metric: Metric, candidates: list[CandidateResult]) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import value_text

    cells = []
    for candidate in candidates:
        found = candidate.metric(metric.name)
        if found is None:
            cells.append("")
            continue
        mark = "" if found.stable else " (not stable)"
        cells.append(f"{value_text(found.median, found.unit)}{_spread(found)}{mark}")
    return metric.label, *cells


def _spread(metric: Metric) -> str:
    """Half the interval's width, in percent of the median."""
    if metric.confidence == 0 or metric.median <= 0:
        return ""
    return f" ±{50 * (metric.high - metric.low) / metric.median:.1f} %"


def _print_remarks(candidate: CandidateResult) -> None:
    from modelplug.benchmark.reports.wording import estimate_error

    lines = [*candidate.notes]
    if candidate.error:
        parts = (str(candidate.error.get(part, "")) for part in ("what", "why", "advice"))
        lines.append("It failed: " + "; ".join(part for part in parts if part))
    lines += [f"{name} was left out: {why}." for name, why in candidate.skipped.items()]
    lines += filter(None, [estimate_error(candidate)])
    reasons: dict[str, list[str]] = {}
    for metric in candidate.metrics:
        for reason in metric.reasons:
            reasons.setdefault(reason, []).append(metric.name)
    lines += [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    if lines:
        echo_heading(candidate.label)
        for line in lines:
            click.echo(wrapped(line, indent="  "))
