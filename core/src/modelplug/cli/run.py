"""`modelplug run`: generate text with a model."""

from __future__ import annotations

import sys
from typing import Any

import click

from modelplug.cli.context import App
from modelplug.cli.first_start import offer_migration
from modelplug.cli.generation import (
    generation_options,
    load_for,
    load_options,
    params_of,
    show_outcome,
    stream,
)

__all__ = ["command"]


@click.command("run")
@click.argument("model")
@click.argument("prompt")
@generation_options
@load_options
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per chunk, and a last one with statistics."
)
@click.option("--stats", is_flag=True, help="Show statistics after the text.")
@click.pass_obj
def command(app: App, /, model: str, prompt: str, *, as_json: bool, stats: bool, **options: Any) -> int:
    """Generate a continuation of PROMPT with MODEL.

    MODEL is a path, `demo` for the bundled model, or a name from `modelplug models list`. A PROMPT of `-` is
    read from standard input.
    """
    offer_migration(app)
    text = _prompt(prompt)
    params = params_of(app, options)
    with load_for(app, model, options) as loaded:
        show_outcome(app, loaded, as_json=as_json)
        return stream(
            app,
            loaded,
            lambda cancel: loaded.generate(text, params, cancel=cancel),
            as_json=as_json,
            stats=stats,
        )


def _prompt(prompt: str) -> str:
    if prompt != "-":
        return prompt
    return sys.stdin.buffer.read().decode("utf-8", "replace")
