"""`modelplug insights`: what the history suggests, and from which runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from modelplug.cli.rendering import wrapped

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("insights")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, *, as_json: bool) -> None:
    """Show what earlier runs suggest to do differently, and the runs behind each suggestion.

    Nothing is changed; `modelplug wizard` proposes the settings.
    """
    from modelplug.history.insights import find_insights

    history = app.runtime.history
    insights = find_insights(history)
    if as_json:
        app.echo_json({**attrs.asdict(insights), "trouble": history.trouble})
        return
    for suggestion in insights.suggestions:
        click.echo(click.style(wrapped(suggestion.text, indent=""), bold=True))
        click.echo(wrapped(suggestion.advice, indent="  "))
        click.echo(click.style(wrapped(f"from {suggestion.evidence}", indent="  "), dim=True))
    if not insights.suggestions:
        seen = f"{insights.runs} runs and {insights.failures} failures" if insights.runs else "no runs yet"
        click.echo(f"nothing to suggest ({seen})")
    elif any(suggestion.changes for suggestion in insights.suggestions):
        app.note("`modelplug wizard` proposes the settings for these")
    if history.trouble:
        app.warn(f"the history can't be used: {history.trouble}")
