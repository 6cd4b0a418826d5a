"""`modelplug optimize`: find settings that suit this machine, by measuring them against those in force."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.measuring import progress_display
from modelplug.cli.rendering import echo_heading, wrapped
from modelplug.cli.tables import echo_table
from modelplug.errors import EXIT_DONE, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.benchmark.comparison import MetricComparison
    from modelplug.benchmark.optimizing.optimizer import ConfigOptimizer
    from modelplug.benchmark.optimizing.proposal import OptimizationProposal, TriedSettings
    from modelplug.benchmark.optimizing.run import OptimizationProgress
    from modelplug.cli.context import App
    from modelplug.history.wizard import AppliedChanges, SettingChange

__all__ = ["command"]

_GOALS = ("generation", "prompt", "memory")


@click.command("optimize")
@click.argument("model", required=False)
@click.option("--backend", metavar="NAME", help="Use this engine. [default: the one that suits best]")
@click.option("--goal", type=click.Choice(_GOALS), default="generation", show_default=True)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="For everything, loading included.",
)
@click.option(
    "--least-context",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Allow a smaller context, down to this.",
)
@click.option("--kv-types", is_flag=True, help="Allow types of keys and values that change the answers.")
@click.option("--apply", is_flag=True, help="Write what was found into the settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print the proposal as JSON.")
@click.pass_obj
def command(app: App, /, *, model: str | None, apply: bool, as_json: bool, **options: Any) -> int:
    """Find settings with which MODEL runs faster, or in less memory, than with those in force.

    MODEL is a path, `demo`, or a registered name; without it, the settings' model_path, else `demo`. Values
    are measured one setting at a time; then the best ones and the settings in force take turns. Nothing is
    proposed without evidence of a gain, and nothing is written without --apply.
    """
    from modelplug.benchmark.optimizing.optimizer import ConfigOptimizer

    with progress_display(app) as display:

        def show(progress: OptimizationProgress) -> None:
            display.say(f"{progress.phase}: {progress.label}, {progress.step}", progress.done)

        optimizer = ConfigOptimizer(app.runtime, on_progress=show)
        try:
            optimizer.optimize_for_hardware(model, **options)
        except KeyboardInterrupt:
            if optimizer.proposal is None:
                raise
    return _finish(app, optimizer, apply=apply, as_json=as_json)


def _finish(app: App, optimizer: ConfigOptimizer, *, apply: bool, as_json: bool) -> int:
    proposal = optimizer.proposal
    assert proposal is not None
    applied = optimizer.apply_config(proposal) if apply and proposal.improves else None
    if as_json:
        undo = list(applied.undo) if applied is not None else []
        app.echo_json({**proposal.to_dict(), "applied": applied is not None, "undo": undo})
    else:
        _print(app, proposal, applied)
    if proposal.interrupted:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    return EXIT_DONE


def _print(app: App, proposal: OptimizationProposal, applied: AppliedChanges | None) -> None:
    from modelplug.benchmark.optimizing.goals import GOALS

    click.echo(
        f"{proposal.model.name} on {proposal.backend}, for {GOALS[proposal.goal]}: "
        f"{proposal.seconds:.0f} of {proposal.budget:g} s used"
    )
    echo_heading("Tried")
    echo_table(("SETTINGS", "ROUNDS", "RATE", "INTERVAL", "MEASURED"), map(_tried_row, proposal.tried))
    for tried in proposal.tried:
        if tried.error:
            click.echo(wrapped(f"{tried.label}: {tried.error}", indent="  "))
    if proposal.left_out:
        echo_heading("Not tried")
        for left_out in proposal.left_out:
            click.echo(wrapped(f"{left_out.what}: {left_out.reason}", indent="  "))
    if proposal.figures:
        echo_heading(_confirmed_title(proposal))
        columns = ("FIGURE", "AS THEY ARE", "WITH IT", "CHANGE", "INTERVAL")
        echo_table(columns, map(_figure_row, proposal.figures))
    _print_disturbances(proposal)
    _print_outcome(app, proposal, applied)


def _tried_row(tried: TriedSettings) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import interval_text, value_text

    metric = tried.confirmed or tried.searched
    if metric is None:
        return tried.label, str(tried.rounds), "", "", "failed" if tried.error else "not measured"
    when = "failed" if tried.error else "in turn" if tried.confirmed is not None else "while searching"
    return tried.label, str(tried.rounds), value_text(metric.median, metric.unit), interval_text(metric), when


def _confirmed_title(proposal: OptimizationProposal) -> str:
    finalist = next(
        (t for t in proposal.tried[1:] if t.confirmed is not None and _is_shown(t, proposal)), None
    )
    label = finalist.label if finalist is not None else "the best of the others"
    kept = "" if proposal.benchmark is None else f" (benchmark {proposal.benchmark} in the history)"
    return f"Measured in turn: {label}{kept}"


def _is_shown(tried: TriedSettings, proposal: OptimizationProposal) -> bool:
    assert tried.confirmed is not None
    return proposal.gain is None or tried.confirmed.median == proposal.gain.new


def _figure_row(figure: MetricComparison) -> tuple[str, ...]:
    from modelplug.benchmark.reports.wording import value_text

    change = f"{figure.change:+.1f} %" if math.isfinite(figure.change) else "unknown"
    interval = ""
    if math.isfinite(figure.low) and figure.confidence > 0:
        interval = f"{figure.low:+.1f} to {figure.high:+.1f} %"
        interval += "" if figure.confidence >= 0.95 else f" ({100 * figure.confidence:.0f} % only)"
    base, new = value_text(figure.base, figure.unit), value_text(figure.new, figure.unit)
    return figure.label, base, new, change, interval


def _print_disturbances(proposal: OptimizationProposal) -> None:
    """What kept the figure that counts from being stable, in either of the two."""
    for tried in proposal.tried:
        if tried.confirmed is not None and tried.confirmed.reasons:
            click.echo(wrapped(f"{tried.label}: {' '.join(tried.confirmed.reasons)}", indent="  "))


def _print_outcome(app: App, proposal: OptimizationProposal, applied: AppliedChanges | None) -> None:
    echo_heading("Proposed settings" if proposal.improves else "Nothing to change")
    click.echo(wrapped(proposal.reason, indent="  "))
    for price in proposal.prices:
        click.echo(wrapped(price, indent="  "))
    _print_changes(app, proposal.changes)
    if not proposal.improves:
        return
    if applied is None:
        app.note("nothing is written; --apply writes it, and so do these now:")
        for change in proposal.changes:
            app.note(f"  modelplug config set {change.key} '{_spelled(change.new)}'")
        return
    click.echo(f"{app.runtime.config.path} is changed, for every model on {proposal.backend}; to undo it:")
    for line in applied.undo:
        click.echo(f"  {line}")


def _print_changes(app: App, changes: Sequence[SettingChange]) -> None:
    for change in changes:
        click.echo(click.style(f"- {change.key}: {_spelled(change.old)}", fg="red"))
        click.echo(click.style(f"+ {change.key}: {_spelled(change.new)}", fg="green"))
        if change.overridden:
            app.warn(f"{change.overridden} overrides this setting")


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
