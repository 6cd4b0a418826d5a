"""`modelplug config`: show, change and check the settings."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.first_start import offer_migration
from modelplug.cli.tables import echo_table
from modelplug.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelplug.cli.context import App
    from modelplug.config import ConfigManager, Issue, ValidationResult

__all__ = ["command"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

ENVIRONMENT_HELP = """\b
Environment variables override the file, and options of a command override both:
  MODELPLUG_HOME                            where everything is kept
  MODELPLUG_BACKEND, MODELPLUG_FALLBACK     preferred backend; never, ask or auto
  MODELPLUG_<KEY>                           any setting, for example MODELPLUG_ISOLATION
  MODELPLUG_BACKENDS__LLAMACPP__GPU_LAYERS  two underscores lead into a section
"""


@click.group("config", epilog=ENVIRONMENT_HELP)
def command() -> None:
    """Show, change and check the settings."""


@command.command("show")
@click.option("--origin", "with_origin", is_flag=True, help="Say where each value comes from.")
@json_option
@click.pass_obj
def show(app: App, *, with_origin: bool, as_json: bool) -> None:
    """Show every setting that is in force."""
    offer_migration(app)
    config = _manager(app)
    items = config.items()
    _warn(app, config)
    if as_json:
        if with_origin:
            app.echo_json(
                {".".join(p): {"value": v, "origin": str(o), "layer": o.layer} for p, v, o in items}
            )
        else:
            app.echo_json(config.effective)
    elif with_origin:
        echo_table(("SETTING", "VALUE", "ORIGIN"), [(".".join(p), _spelled(v), o) for p, v, o in items])
    else:
        echo_table(("SETTING", "VALUE"), [(".".join(p), _spelled(v)) for p, v, _ in items])


@command.command("get")
@click.argument("key")
@json_option
@click.pass_obj
def get(app: App, *, key: str, as_json: bool) -> None:
    """Print the value of KEY that is in force: text as it is, anything else as JSON."""
    config = _manager(app)
    missing = object()
    value = config.get(key, missing)
    if value is missing:
        raise _no_such_setting(config, key)
    if as_json:
        app.echo_json(value)
    else:
        click.echo(value if isinstance(value, str) else _spelled(value))


@command.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value")
@click.pass_obj
def set_value(app: App, *, key: str, value: str) -> None:
    """Set KEY to VALUE in the settings file.

    VALUE is read as JSON if it is JSON, and as text otherwise; lists may be written as a,b. Everything
    else in the file, comments included, stays as it is.
    """
    from modelplug.config.checking import interpret
    from modelplug.config.document import split_key

    config = _manager(app)
    path = split_key(key)
    classes = _classes(app) if path[0] == "backends" else {}
    config.set(path, interpret(value, path, classes))
    saved = config.save()
    _remark(app, key)
    origin = config.origin(path)
    if origin.variable:
        app.warn(f"{origin.variable} is set in the environment, and overrides this")
    if not saved.changed:
        app.note(f"{key} had that value already")


def _remark(app: App, key: str) -> None:
    """Say what checking the whole file would say of `key`, for example that it names an unknown backend."""
    from modelplug.config import ConfigValidator

    result = ConfigValidator(lambda: _classes(app)).validate_config(app.runtime.paths.config_file)
    for issue in result.issues:
        if key.startswith(issue.key) and issue.key:
            app.warn(str(issue))
    for note in result.notes:
        if key.startswith(note.key) and note.key:
            app.note(str(note))


@command.command("unset")
@click.argument("key")
@click.pass_obj
def unset(app: App, *, key: str) -> None:
    """Take KEY out of the settings file, so that its default counts."""
    config = _manager(app)
    if not config.unset(key):
        app.note(f"{key} is not in {config.path}")
        return
    config.save()


@command.command("validate")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_context
def validate(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """Check the settings, or the file PATH; exit with 1 if something is wrong."""
    import attrs

    from modelplug.config import ConfigValidator

    app: App = ctx.obj
    validator = ConfigValidator(lambda: _classes(app))
    result = validator.validate_config(path or app.runtime.paths.config_file)
    if path is None:
        if not result.path.exists():
            result = validator.validate_config()
            app.note(f"there is no file {result.path}; the defaults are in force")
            result = attrs.evolve(result, notes=())
        result = attrs.evolve(result, issues=(*result.issues, *_environment_issues(app)))
    if as_json:
        app.echo_json(_as_plain(result))
    else:
        _print_result(app, result)
    if not result.valid:
        ctx.exit(EXIT_FAILED)


def _environment_issues(app: App) -> Iterator[Issue]:
    """What is wrong with environment variables that override settings."""
    from modelplug.config import Issue
    from modelplug.config.checking import problems_at
    from modelplug.config.environment import read_environment

    for warning in read_environment(os.environ)[1]:
        yield Issue(message=warning, severity="warning")
    for path, value, origin in _manager(app).items():
        if origin.variable:
            classes = _classes(app) if path[0] == "backends" else {}
            for problem in problems_at(path, value, classes):
                message = f"environment variable {origin.variable}: {problem}"
                yield Issue(message=message, key=problem.key, value=value, allowed=problem.allowed)


@command.command("reset")
@click.pass_obj
def reset(app: App) -> None:
    """Return every setting to its default; the old file is kept under another name."""
    config = _manager(app)
    config.reset_to_defaults()
    saved = config.save()
    if saved.set_aside is not None:
        click.echo(f"the old settings are kept as {saved.set_aside}")
    click.echo(f"{saved.path} holds the defaults")


@command.command("template")
@click.option("--preset", metavar="NAME", help="Settings for a kind of machine: nvidia, amd, cpu or apple.")
@click.pass_obj
def print_template(app: App, *, preset: str | None) -> None:
    """Print a commented settings file to start from."""
    from modelplug.config.template import template

    click.echo(template(preset, _classes(app) if preset is None else {}), nl=False)


@command.command("path")
@click.pass_obj
def print_path(app: App) -> None:
    """Print where the settings file is, or would be."""
    click.echo(app.runtime.paths.config_file)


@command.command("edit")
@click.pass_obj
def edit(app: App) -> None:
    """Open a copy of the settings file in $EDITOR, check it, and only then replace the file."""
    from modelplug.config import ConfigValidator, store

    path = app.runtime.paths.config_file
    before = path.read_bytes() if path.exists() else None
    copy = Path(tempfile.mkdtemp(prefix="modelplug-edit-")) / path.name
    original = store.EMPTY.encode() if before is None else before
    copy.write_bytes(original)
    validator = ConfigValidator(lambda: _classes(app))
    while True:
        try:
            click.edit(filename=str(copy))
        except click.ClickException as error:
            raise _editor_failed(copy, original, error) from error
        result = validator.validate_config(copy)
        if result.valid:
            break
        _print_result(app, result)
        if not _asks_again():
            raise ConfigError(
                "the edited settings are not valid, and were not taken over",
                path=path,
                advice=f"your text is kept in {copy}",
            )
    document = store.read(copy)
    assert document is not None  # it has just been validated
    saved = store.save_text(path, document, expected=before)
    copy.unlink()
    copy.parent.rmdir()
    _print_result(app, result)
    click.echo(f"{path} is changed" if saved.changed else f"{path} is as it was")


def _editor_failed(copy: Path, original: bytes, error: click.ClickException) -> ConfigError:
    """The error for an editor that did not start or gave up; the copy is kept only if it was changed."""
    changed = copy.read_bytes() != original
    if not changed:
        copy.unlink()
        copy.parent.rmdir()
    return ConfigError(
        "the editor failed, and the settings are as they were",
        why=error.message,
        advice=f"your text is kept in {copy}" if changed else "set EDITOR to an editor that is installed",
    )


def _asks_again() -> bool:
    return sys.stdin.isatty() and click.confirm("Edit again?", default=True, err=True)


def _manager(app: App) -> ConfigManager:
    from modelplug.config import ConfigManager

    return ConfigManager(app.runtime.paths, settings_classes=lambda: _classes(app))


def _classes(app: App) -> Mapping[str, type[Any]]:
    from modelplug.config.validation import installed_settings_classes

    return installed_settings_classes(app.runtime.plugins)


def _warn(app: App, config: ConfigManager) -> None:
    for warning in config.warnings:
        if warning != config.broken:  # the log has told that already
            app.warn(warning)


def _no_such_setting(config: ConfigManager, key: str) -> ConfigError:
    from modelplug.config.structure import nearest

    names = [".".join(path[:length]) for path, _, _ in config.items() for length in range(1, len(path) + 1)]
    near = nearest(key, dict.fromkeys(names))
    return ConfigError(
        f"there is no setting {key}",
        key=key,
        why=f"did you mean {near}?" if near else "it has neither a value nor a default",
        advice=f"`modelplug config get {near}`" if near else "`modelplug config show` lists the settings",
    )


def _spelled(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_plain(result: ValidationResult) -> dict[str, Any]:
    import attrs

    return {
        "path": str(result.path),
        "valid": result.valid,
        "issues": [attrs.asdict(issue) for issue in result.issues],
        "notes": [attrs.asdict(note) for note in result.notes],
    }


def _print_result(app: App, result: ValidationResult) -> None:
    for issue in result.issues:
        if issue.severity == "error":
            click.echo(click.style("error: ", fg="red", bold=True) + str(issue), err=True)
        else:
            app.warn(str(issue))
    for note in result.notes:
        app.note(f"note: {note}")
    if result.valid and result.path.exists():
        click.echo(f"{result.path} is valid")
