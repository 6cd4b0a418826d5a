"""`modelplug wizard`: settings proposed from how models are used, and applied when the user agrees."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import attrs
import click

from modelplug.cli.rendering import echo_heading, echo_pairs, wrapped
from modelplug.history.insights.evidence import numbers

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.history.wizard import SettingChange, UsagePatterns, UsageRecommendations

__all__ = ["command"]


@click.command("wizard")
@click.option("--yes", is_flag=True, help="Apply the proposal without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --yes, apply the proposal too.")
@click.pass_obj
def command(app: App, *, yes: bool, as_json: bool) -> None:
    """Propose settings from how you use models here.

    The proposal shows each setting as it is and as it would be, with the reason and the runs behind it.
    Nothing is changed unless you say so.
    """
    from modelplug.history.wizard import OptimizationWizard

    wizard = OptimizationWizard(app.runtime)
    found = wizard.analyze_usage_patterns()
    if as_json:
        applied = wizard.apply_recommendations(found) if yes and found.changes else None
        undo = list(applied.undo) if applied is not None else []
        app.echo_json({**attrs.asdict(found), "applied": applied is not None, "undo": undo})
        return
    _print(app, found)
    if not found.changes or not (yes or _agrees(app)):
        return
    applied = wizard.apply_recommendations(found)
    click.echo(f"{app.runtime.config.path} is changed; to undo it:")
    for line in applied.undo:
        click.echo(f"  {line}")


def _agrees(app: App) -> bool:
    if not sys.stdin.isatty():
        app.note("nothing is changed; `modelplug wizard --yes` applies this")
        return False
    return click.confirm("Apply these settings?", default=False, err=True)


def _print(app: App, found: UsageRecommendations) -> None:
    _print_patterns(found.patterns)
    for suggestion in found.suggestions:
        app.note(f"{suggestion.text} {suggestion.advice}")
    if not found.changes:
        echo_heading("Nothing to change")
        return
    echo_heading("Proposed settings")
    for change in found.changes:
        _print_change(app, change)


def _print_patterns(patterns: UsagePatterns) -> None:
    if not patterns.runs:
        click.echo("no runs are recorded yet")
        return
    echo_pairs(
        [
            ("runs", f"{patterns.runs} since {patterns.since[:10]}, and {patterns.failures} failures"),
            ("models", _counted(patterns.models)),
            ("engines", _counted(patterns.backends)),
            ("prompt", _tokens(patterns.prompt_tokens)),
            ("answer", _tokens(patterns.completion_tokens)),
            ("longest", None if patterns.longest is None else f"{patterns.longest} tokens together"),
        ]
    )


def _counted(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:5]]
    return ", ".join([*shown, *(["..."] if len(counts) > 5 else [])])


def _tokens(median: float | None) -> str | None:
    return None if median is None else f"{median:g} tokens (median)"


def _print_change(app: App, change: SettingChange) -> None:
    click.echo(click.style(f"- {change.key}: {_spelled(change.old)}", fg="red"))
    click.echo(click.style(f"+ {change.key}: {_spelled(change.new)}", fg="green"))
    click.echo(wrapped(change.reason, indent="    "))
    evidence = "; ".join(
        f"{what} {numbers(which)}"
        for what, which in (("runs", change.runs), ("failures", change.failures))
        if which
    )
    click.echo(click.style(wrapped(f"from {evidence}", indent="    "), dim=True))
    if change.overridden:
        app.warn(f"{change.overridden} overrides this setting")


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
