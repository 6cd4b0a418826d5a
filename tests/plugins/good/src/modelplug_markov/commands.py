"""`modelplug markov`."""

from __future__ import annotations

from pathlib import Path

import click

from modelplug_markov.settings import MAX_ORDER

__all__ = ["markov"]


@click.group()
def markov() -> None:
    """Train n-gram text models."""


@markov.command()
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option(
    "--order", type=click.IntRange(0, MAX_ORDER), default=3, show_default=True, help="Tokens of context."
)
@click.option(
    "--vocabulary", type=click.IntRange(258, 20_000), default=512, show_default=True, help="Tokens."
)
def train(text: Path, output: Path, order: int, vocabulary: int) -> None:
    """Train a model on the file TEXT and write it to OUTPUT."""
    from modelplug_markov.training import train as train_model

    parameters = train_model(
        text.read_text("utf-8"), output, name=text.stem, order=order, vocabulary=vocabulary
    )
    click.echo(f"wrote {output}: {parameters} counts, {output.stat().st_size} bytes")
