"""`modelplug test`: try models out, and compare what different engines say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.context import telling_lines
from modelplug.cli.first_start import offer_migration
from modelplug.cli.measuring import progress_display, settings_of
from modelplug.cli.rendering import echo_heading, wrapped
from modelplug.cli.tables import echo_table
from modelplug.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOTHING_SUITABLE, UsageError

if TYPE_CHECKING:
    from modelplug.benchmark.model_tester import ModelProgress
    from modelplug.benchmark.parity import Parity, ParityDifference
    from modelplug.benchmark.tested import ModelTestReport, ModelTestResult
    from modelplug.cli.context import App
    from modelplug.cli.progress import ProgressDisplay

__all__ = ["command"]


@click.command("test")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="May be repeated; `all` for all.")
@click.option("--all-backends", is_flag=True, help="Every engine that suits, and whether they agree.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens of each answer. [default: 16]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For each model with each engine, loading included. [default: 600]",
)
@click.option("--gpu-layers", type=click.IntRange(min=-1), help="Layers on the GPU: -1 all, 0 none.")
@click.option("--context-size", type=click.IntRange(min=1), help="Tokens the context holds.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Prompt tokens evaluated at once.")
@click.option("--set", "extra", multiple=True, metavar="NAME=VALUE", help="A setting of the backend.")
@click.option("--force", is_flag=True, help="Try even what should not fit into memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(
    app: App,
    /,
    *,
    models: tuple[str, ...],
    backends: tuple[str, ...],
    all_backends: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Load MODEL, let it generate, and check that what it says makes sense.

    Each MODEL is a path, `demo`, or a registered name; without any, all registered models are tested. The
    exit status is 1 if a model failed, or if engines disagree by more than different rounding explains; 3 if
    nothing is installed that could run any of them.
    """
    from modelplug.benchmark.candidates import ALL_BACKENDS
    from modelplug.benchmark.model_tester import DEADLINE_SECONDS, TOKENS, ModelTester

    if all_backends and backends:
        raise UsageError(
            "--backend and --all-backends exclude each other",
            why="one names the engines, and the other takes all of them",
            advice="Leave one of them out.",
        )
    if not models:
        offer_migration(app)
    with progress_display(app) as display:
        tester = ModelTester(app.runtime, on_progress=lambda progress: _show_progress(display, progress))
        try:
            tester.run(
                models,
                backends=[ALL_BACKENDS] if all_backends else backends,
                tokens=options["tokens"] or TOKENS,
                deadline=options["timeout"] or DEADLINE_SECONDS,
                settings=settings_of(options),
                force=options["force"],
            )
        except KeyboardInterrupt:
            if tester.report is None:
                raise
    report = tester.report
    assert report is not None
    if as_json:
        app.echo_json(report.to_dict())
    else:
        _print(report, several=all_backends or len(backends) > 1)
    if report.interrupted:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    return _status(report)


def _status(report: ModelTestReport) -> int:
    if report.success:
        return EXIT_DONE
    statuses = {result.failure.exit_code if result.failure else EXIT_DONE for result in report.results}
    # One that says more than that something failed, if it holds for everything that was tested.
    return EXIT_NOTHING_SUITABLE if statuses == {EXIT_NOTHING_SUITABLE} else EXIT_FAILED


def _show_progress(display: ProgressDisplay, progress: ModelProgress) -> None:
    text = f"{progress.number + 1} of {progress.count}: {progress.label}, {progress.step}"
    display.say(text, progress.number / progress.count)


def _print(report: ModelTestReport, *, several: bool) -> None:
    if report.results:
        columns = ("MODEL", "BACKEND", "RESULT", "TOKENS/S", "CHECKS")
        echo_table(columns, map(_row, report.results), numbers=("TOKENS/S",))
    for result in report.results:
        _print_remarks(result)
    for parity in report.parities:
        _print_parity(parity)
    compared = {parity.fingerprint for parity in report.parities}
    alone = [result for result in report.results if result.success and result.fingerprint not in compared]
    if several and alone:
        echo_heading("Not compared")
        for result in alone:
            click.echo(wrapped(f"{result.label}: no other engine has answered with this model.", indent="  "))
    click.echo()
    click.echo(wrapped(_summary(report), indent=""))


def _row(result: ModelTestResult) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import value_text

    speed = value_text(result.tokens_per_second, "tokens/s").removesuffix(" tokens/s")
    return (
        result.model or repr(result.model),
        result.backend,
        "ok" if result.success else "failed",
        "" if speed == "unknown" else speed,
        ", ".join(_WORDS[check.outcome].format(check.name) for check in result.checks),
    )


_WORDS = {"passed": "{}", "failed": "not {}", "not checked": "{} (not checked)"}


def _print_remarks(result: ModelTestResult) -> None:
    lines = [f"It failed: {result.error}."] if result.error else []
    # The first check that failed is the error.
    told = result.error.casefold()
    for check in result.failed_checks:
        if check.detail.rstrip(".").casefold() not in told:
            lines.append(check.detail)
        if check.texts:
            lines.append("It said " + ", then ".join(map(repr, check.texts)) + ".")
    if result.success:
        lines += [f"{c.name}: not checked. {c.detail}" for c in result.checks if c.outcome == "not checked"]
    lines += result.remarks
    if not lines:
        return
    echo_heading(result.label)
    for line in lines:
        click.echo(wrapped(line, indent="  "))
    failure = result.failure
    words = telling_lines(str(failure.data.get("stderr_tail") or "").strip()) if failure else []
    if words:
        click.echo("  the engine's last words:")
        for line in words:
            click.echo(f"    {line}")
    if result.suggestion:
        click.echo(wrapped(f"try: {result.suggestion}", indent="  "))


def _print_parity(parity: Parity) -> None:
    from modelplug.benchmark.parity import joined

    echo_heading(f"Greedy decoding of {parity.model}")
    if not parity.differences:
        text = f"{joined(parity.labels)} give the same {parity.tokens} tokens."
        click.echo(wrapped(text, indent="  "))
        return
    for difference in parity.differences:
        _print_difference(difference)


def _print_difference(difference: ParityDifference) -> None:
    from modelplug.benchmark.parity import joined

    parting = difference.parting
    others = joined(difference.others)
    who = (
        f"{difference.label} disagrees with {others}"
        if difference.majority
        else (f"{difference.label} and {others} disagree")
    )
    where = f"from {parting.unit} {parting.position + 1} on"
    click.echo(wrapped(f"After {difference.prompt!r}, {who} {where}:", indent="  "))
    click.echo(wrapped(f"{others}: {parting.expected!r}", indent="    "))
    click.echo(wrapped(f"{difference.label}: {parting.found!r}", indent="    "))
    click.echo(wrapped(parting.reason, indent="  "))


def _summary(report: ModelTestReport) -> str:
    count, failed = len(report.results), len(report.failed)
    parts = [f"{count - failed} of {count} passed."]
    if report.disagreements:
        names = ", ".join(parity.model for parity in report.disagreements)
        parts.append(f"Engines disagree on {names}, by more than rounding is known to explain.")
    if report.untested:
        parts.append(f"Not tested: {', '.join(report.untested)}.")
    return " ".join(parts)
