"""`modelplug models scan`: find the models that are already there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.model_rows import COLUMNS, facts_of, kind_of, size_of
from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.cli.context import App
    from modelplug.history.places import Found
    from modelplug.history.scan import Scanned

__all__ = ["scan"]


@click.command("scan")
@click.argument(
    "folder",
    metavar="[DIR]",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--add/--no-add",
    "add",
    default=None,
    help="Give every model that has no name yet the name of its file, or don't.  [default: without DIR, do]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def scan(app: App, *, folder: Path | None, add: bool | None, as_json: bool) -> None:
    """Find the models in DIR and the folders below it.

    Without DIR, the folders of other programs are searched: Ollama, LM Studio, the Hugging Face cache,
    llama.cpp's cache, GPT4All and GGUF Loader. Their models stay where they are, and each can then be run by
    its name. A model that was moved keeps its name and its history.
    """
    from modelplug.backends.inspection import inspected
    from modelplug.data.bundled import bundled_models
    from modelplug.history.scan import scan as scan_models

    adds = folder is None if add is None else add
    results = list(
        scan_models(
            _shown(_everywhere() if folder is None else _below(folder.absolute())),
            app.runtime.history,
            lambda path: inspected(path, app.runtime),
            add=adds,
            taken=bundled_models(app.runtime.plugins) if adds else (),
        )
    )
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        app.echo_json([_as_plain(result) for result in results])
    else:
        _print(app, results, searched=folder is None)


def _everywhere() -> Iterator[Found]:
    from modelplug.history.places import Machine, find_everywhere

    return find_everywhere(Machine.current())


def _below(folder: Path) -> Iterator[Found]:
    from modelplug.history.places.machine import Found, models_in, name_of

    return (Found(path=path, name=name_of(path)) for path in models_in(folder))


def _shown(found: Iterator[Found]) -> Iterator[Found]:
    """The same, with the name of each on a terminal while it is looked at."""
    for one in found:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{one.name[:70]}", nl=False, err=True)
        yield one


def _as_plain(result: Scanned) -> dict[str, Any]:
    return {
        "name": result.name,
        "path": str(result.path),
        "source": result.source,
        "change": result.change,
        "before": None if result.before is None else str(result.before),
        "error": result.trouble,
        **facts_of(result.info),
    }


def _print(app: App, results: list[Scanned], *, searched: bool) -> None:
    rows = [
        (result.name, kind_of(result.info), size_of(result.info.size), result.path)
        for result in results
        if result.info is not None
    ]
    if rows:
        echo_table(COLUMNS, rows, numbers=["SIZE"])
    elif searched:
        _print_places(app)
    for result in results:
        if result.before is not None:
            app.note(f"{result.name} was {result.before} before")
        if result.info is None:
            app.note(f"left out: {result.path}: {result.trouble}")
    added = [result.name for result in results if result.change == "added"]
    if added:
        click.echo(f'{len(added)} new; try: modelplug run {added[0]} "Once upon a time"')


def _print_places(app: App) -> None:
    from modelplug.history.places import PLACES, Machine

    click.echo("no models were found where other programs keep theirs; these folders were looked for:")
    machine = Machine.current()
    for place in PLACES:
        for folder in place.folders(machine):
            click.echo(f"  {folder}" + ("" if folder.exists() else " (not there)"))
    app.note("for another folder: modelplug models scan DIR --add")
