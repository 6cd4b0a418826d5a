"""`modelplug models`: give model files names, and list the known ones."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from modelplug.cli.first_start import offer_migration
from modelplug.cli.tables import echo_table
from modelplug.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.cli.context import App
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import KnownModel

__all__ = ["command"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_ENDINGS = frozenset({".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".pth", ".llamafile"})
_LATER_SHARD = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.")
COLUMNS = ("NAME", "MODEL", "SIZE", "PATH")


@click.group("models")
def command() -> None:
    """Give models names, and list the known ones."""


@command.command("list")
@json_option
@click.pass_obj
def list_models(app: App, *, as_json: bool) -> None:
    """List the models that have a name."""
    offer_migration(app)
    models = app.runtime.history.models()
    if as_json:
        app.echo_json([_as_plain(model) for model in models])
        return
    echo_table(COLUMNS, [("demo", "", "", "comes with modelplug"), *map(_row, models)], numbers=["SIZE"])


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
    before = app.runtime.history.find_model(name)
    info = inspect(path)
    model = app.runtime.history.add_model(name, path, info)
    if as_json:
        app.echo_json(_as_plain(model))
        return
    if before is not None and before.path != model.path:
        app.note(f"{name} was {before.path} before")
    click.echo(f'{name} is {model.path}; try: modelplug run {name} "Once upon a time"')


@command.command("remove")
@click.argument("name")
@click.pass_obj
def remove(app: App, *, name: str) -> None:
    """Forget NAME; the model's file stays where it is."""
    history = app.runtime.history
    if history.remove_model(name):
        click.echo(f"{name} is forgotten; its file stays where it is")
        return
    near = history.nearest_names(name)
    raise UsageError(
        f"there is no model named {name!r}",
        why=history.trouble or (f"did you mean {' or '.join(near)}?" if near else ""),
        advice="`modelplug models list` shows the names",
    )


@command.command("scan")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--add", "add_all", is_flag=True, help="Give every model that has no name yet the name of its file."
)
@json_option
@click.pass_obj
def scan(app: App, *, folder: Path, add_all: bool, as_json: bool) -> None:
    """Find the models in DIR and the folders below it."""
    names = {model.path: model.name for model in app.runtime.history.models()}
    found: list[dict[str, Any]] = []
    for path in _candidates(folder.absolute()):
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{path.name[:70]}", nl=False, err=True)
        entry = _examine(path)
        entry["name"] = names.get(path, "")
        if add_all and not entry["name"] and entry["info"] is not None:
            entry["name"] = _free_name(path, set(names.values()))
            names[path] = app.runtime.history.add_model(entry["name"], path, entry["info"]).name
        found.append(entry)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    _print_found(app, found, as_json=as_json)


def _examine(path: Path) -> dict[str, Any]:
    from modelplug.formats import inspect

    try:
        return {"path": path, "info": inspect(path), "error": ""}
    except ModelFileError as error:
        return {"path": path, "info": None, "error": str(error)}


def _print_found(app: App, found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        app.echo_json(
            [
                {"name": e["name"], "path": str(e["path"]), "error": e["error"], **_facts(e["info"])}
                for e in found
            ]
        )
        return
    sound = [entry for entry in found if entry["info"] is not None]
    rows = [
        (entry["name"], _kind(entry["info"]), _size(entry["info"].size), entry["path"]) for entry in sound
    ]
    echo_table(COLUMNS, rows, numbers=["SIZE"])
    for entry in found:
        if entry["info"] is None:
            app.note(f"left out: {entry['path']}: {entry['error']}")


def _candidates(folder: Path) -> Iterator[Path]:
    """Files and folders that may be models; a Hugging Face folder counts as one, and is not entered."""
    entries = sorted(folder.iterdir()) if _readable(folder) else []
    files = [entry for entry in entries if entry.is_file()]
    weights = [entry for entry in files if entry.suffix.lower() in _ENDINGS]
    if any(entry.name == "config.json" for entry in files) and any(e.suffix != ".gguf" for e in weights):
        yield folder
        weights = [entry for entry in weights if entry.suffix == ".gguf"]
    yield from (entry for entry in weights if not _LATER_SHARD.search(entry.name))
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _candidates(entry)


def _readable(folder: Path) -> bool:
    try:
        next(folder.iterdir(), None)
    except OSError:
        return False
    return True


def _free_name(path: Path, taken: set[str]) -> str:
    from modelplug.history.records import RESERVED_NAMES

    base = (
        re.sub(r"-00001-of-\d{5}$", "", path.stem if path.is_file() else path.name).strip().lstrip("-")
        or "model"
    )
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 10_000))
    return next(name for name in names if name not in taken and name not in RESERVED_NAMES)


def _facts(info: ModelInfo | None) -> dict[str, Any]:
    names = ("format", "architecture", "quantization", "size", "parameters")
    return {name: getattr(info, name, None) for name in names}


def _row(model: KnownModel) -> tuple[object, ...]:
    where = str(model.path) if model.path.exists() else f"{model.path} (missing)"
    return (model.name, _kind(model), _size(model.size), where)


def _kind(model: KnownModel | ModelInfo) -> str:
    parts = (model.format, model.architecture, model.quantization)
    return " ".join(part for part in parts if part)


def _size(size: int | None) -> str:
    from modelplug.system.report import format_bytes

    return "" if size is None else format_bytes(size)


def _as_plain(model: KnownModel) -> dict[str, Any]:
    return {**attrs.asdict(model), "path": str(model.path), "exists": model.path.exists()}
