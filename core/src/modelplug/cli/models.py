"""`modelplug models`: give model files names, and list the known ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelplug.cli.first_start import offer_migration
from modelplug.cli.model_rows import COLUMNS, as_plain, facts_of, row_of
from modelplug.cli.model_scan import scan
from modelplug.cli.model_show import forget, remove, show
from modelplug.cli.tables import echo_table
from modelplug.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.data.bundled import BundledModel
    from modelplug.history import KnownModel

__all__ = ["command"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("models")
def command() -> None:
    """Give models names, and list the known ones."""


@command.command("list")
@json_option
@click.pass_obj
def list_models(app: App, *, as_json: bool) -> None:
    """List the models that have a name: those that come with something installed, and your own."""
    from modelplug.data.bundled import bundled_models

    offer_migration(app)
    models = app.runtime.history.models()
    own = {model.name for model in models}
    bundled = [model for model in bundled_models(app.runtime.plugins).values() if model.name not in own]
    if as_json:
        brought = [as_plain(_as_known(model, app), model.distribution) for model in bundled]
        app.echo_json([*brought, *map(as_plain, models)])
        return
    rows = [row_of(_as_known(model, app), f"comes with {model.distribution}") for model in bundled]
    echo_table(COLUMNS, [*rows, *map(row_of, models)], numbers=["SIZE"])


@command.command("add")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def add(app: App, *, name: str, path: Path, as_json: bool) -> None:
    """Give the model at PATH the name NAME, once inspection finds it sound."""
    from modelplug.formats import inspect
    from modelplug.history.store import check_name

    check_name(name)
    _check_free(name, app)
    before = app.runtime.history.find_model(name)
    info = inspect(path)
    model = app.runtime.history.add_model(name, path, info)
    app.runtime.history.saw(info)
    if as_json:
        app.echo_json(as_plain(model))
        return
    if before is not None and before.path != model.path:
        app.note(f"{name} was {before.path} before")
    click.echo(f'{name} is {model.path}; try: modelplug run {name} "Once upon a time"')


def _check_free(name: str, app: App) -> None:
    from modelplug.data.bundled import find_bundled

    bundled = find_bundled(name, app.runtime.plugins)
    # Who had the name before the plugin came keeps it, also for another model.
    if bundled is not None and app.runtime.history.find_model(name) is None:
        raise UsageError(
            f"the name {name} is taken",
            why=f"a model of that name comes with {bundled.distribution}",
            advice="choose another name",
        )


command.add_command(scan)
command.add_command(show)
command.add_command(forget)
command.add_command(remove)


def _as_known(model: BundledModel, app: App) -> KnownModel:
    """A bundled model as one of the user's own would be shown."""
    from modelplug.backends.inspection import inspected
    from modelplug.history import KnownModel

    try:
        facts = facts_of(inspected(model.path, app.runtime))
    except ModelFileError:
        # Whoever names it is told what is wrong; a list goes on.
        facts = {}
    return KnownModel(
        name=model.name,
        path=model.path,
        added="",
        last_seen="",
        **{name: value for name, value in facts.items() if value is not None},
    )
