"""`modelplug plugins`: what is installed, how it fares, and switching it on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.tables import echo_table
from modelplug.errors import PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.cli.context import App
    from modelplug.plugins import MissingPlugin, PluginManager, PluginRecord

__all__ = ["command"]

PREFIX = "modelplug_"
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("plugins")
def command() -> None:
    """List plugins, and switch them on and off."""


@command.command("list")
@json_option
@click.pass_obj
@click.pass_context
def list_plugins(ctx: click.Context, app: App, *, as_json: bool) -> None:
    """List every plugin with its state, and what is wrong with it.

    Every plugin that is not disabled is imported and asked what it brings, so that the state is true.
    """
    plugins = app.runtime.plugins
    failure = _examine(app)
    if as_json:
        app.echo_json(_as_plain(app, plugins))
    else:
        _print_list(app, plugins)
    if failure is not None:
        app.show_error(failure)
        ctx.exit(failure.exit_code)


@command.command("show")
@click.argument("name")
@json_option
@click.pass_obj
@click.pass_context
def show(ctx: click.Context, app: App, *, name: str, as_json: bool) -> None:
    """Show everything that is known of the plugin NAME."""
    plugins = app.runtime.plugins
    name = plugins.record(name).name
    failure = _examine(app)
    record = plugins.record(name)
    if as_json:
        app.echo_json(_record_as_plain(app, record))
    else:
        _print_record(app, record)
    if failure is not None and failure.plugin == name:
        app.show_error(failure)
        ctx.exit(failure.exit_code)


@command.command("enable")
@click.argument("name")
@json_option
@click.pass_obj
def enable(app: App, *, name: str, as_json: bool) -> None:
    """Undo `disable` for the plugin NAME, and try it again if it hung or crashed."""
    plugins = app.runtime.plugins
    plugins.set_enabled(name, True)
    if all(record.name != name and record.distribution != name for record in plugins.records):
        if as_json:
            app.echo_json({"name": name, "state": "not-installed"})
        else:
            click.echo(f"{name} is not disabled any more; it is not installed")
        return
    record = plugins.load(name)
    if as_json:
        app.echo_json(_record_as_plain(app, record))
        return
    click.echo(f"{record.name} is enabled; it {record.status}")
    _print_faults(record)


@command.command("disable")
@click.argument("name")
@json_option
@click.pass_obj
def disable(app: App, *, name: str, as_json: bool) -> None:
    """Leave the plugin NAME out from now on. It is not imported for this."""
    plugins = app.runtime.plugins
    plugins.set_enabled(name, False)
    record = plugins.record(name)
    if as_json:
        app.echo_json(_record_as_plain(app, record))
    else:
        click.echo(f"{record.name} is disabled; to undo it: modelplug plugins enable {record.name}")


@command.command("forget")
@click.argument("name")
@click.pass_obj
def forget(app: App, *, name: str) -> None:
    """Stop reporting the plugin NAME as missing after it was uninstalled."""
    plugins = app.runtime.plugins
    if not plugins.forget(name):
        raise UsageError(
            f"no plugin named {name!r} is missing",
            why="the plugins missed in this environment are: "
            + (", ".join(item.name for item in plugins.missing) or "none"),
            advice="Run `modelplug plugins list`.",
        )
    click.echo(f"{name} is not expected any more")


def _examine(app: App) -> PluginError | None:
    """Ask every plugin what it brings. A failure ends up in its record; the first is returned if strict."""
    from modelplug.cli.main import VERBS
    from modelplug.cli.plugin_commands import plugin_commands

    plugins = app.runtime.plugins
    questions = (
        plugins.load_all,
        # The room asks for the detection, because only it sees which names of backends collide.
        app.runtime.backends.reports,
        lambda: plugins.call("modelplug_backend_settings"),
        lambda: plugins.call("modelplug_migrations"),
        lambda: plugins.call("modelplug_benchmarks"),
        lambda: plugin_commands(app, taken=frozenset(VERBS)),
    )
    failures = [failure for question in questions if (failure := _failure_of(question))]
    return failures[0] if failures else None


def _failure_of(question: Callable[[], object]) -> PluginError | None:
    try:
        question()
    except PluginError as error:
        return error
    return None


def _as_plain(app: App, plugins: PluginManager) -> dict[str, Any]:
    from modelplug.hookspecs import HOOKSPEC_VERSION

    return {
        "hookspec_version": HOOKSPEC_VERSION,
        "plugins": [_record_as_plain(app, record) for record in plugins.records],
        "missing": [_missing_as_plain(item) for item in plugins.missing],
        "problems": list(plugins.problems),
    }


def _record_as_plain(app: App, record: PluginRecord) -> dict[str, Any]:
    plain = record.to_dict()
    if not app.debug:
        del plain["traceback"]
    return plain


def _missing_as_plain(item: MissingPlugin) -> dict[str, str]:
    return {
        "name": item.name,
        "distribution": item.distribution,
        "version": item.version,
        "install": item.install,
    }


def _print_list(app: App, plugins: PluginManager) -> None:
    records = plugins.records
    if records:
        echo_table(
            ("PLUGIN", "STATE", "DISTRIBUTION", "CONTRACT", "HOOKS"),
            [
                (
                    record.name,
                    record.state,
                    f"{record.distribution} {record.version}",
                    record.hookspec_version or "",
                    ", ".join(hook.removeprefix(PREFIX) for hook in record.hooks),
                )
                for record in records
            ],
        )
    else:
        click.echo("no plugin is installed in this environment")
    for record in records:
        if record.cause or record.warnings:
            click.echo("")
            click.echo(f"{record.name}:")
            _print_faults(record)
            if app.debug and record.traceback:
                click.echo(record.traceback)
    for problem in plugins.general_problems:
        click.echo("")
        click.echo(problem)
    for item in plugins.missing:
        click.echo("")
        click.echo(f"{item.name} ({item.distribution} {item.version}) was here before and is missing:")
        click.echo(f"  to have it back: {item.install}")
        click.echo(f"  to forget it: modelplug plugins forget {item.name}")


def _print_faults(record: PluginRecord) -> None:
    if record.cause:
        click.echo(f"  why: {record.cause}")
    if record.remedy:
        click.echo(f"  try: {record.remedy}")
    for warning in record.warnings:
        click.echo(f"  note: {warning}")


def _print_record(app: App, record: PluginRecord) -> None:
    took = "" if record.import_seconds is None else f"{record.import_seconds * 1000:.0f} ms"
    rows = (
        ("plugin", record.name),
        ("state", record.state),
        ("distribution", record.distribution),
        ("version", record.version),
        ("installed from", record.source),
        ("module", record.module),
        ("contract", record.hookspec_version or ""),
        ("hooks", "\n".join(record.hooks)),
        ("import took", took),
    )
    for label, value in rows:
        for number, line in enumerate(str(value).splitlines()):
            click.echo(f"{'' if number else label:<16}{line}")
    _print_faults(record)
    if app.debug and record.traceback:
        click.echo("")
        click.echo(record.traceback)
