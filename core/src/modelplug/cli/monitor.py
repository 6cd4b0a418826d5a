"""`modelplug monitor`: live figures of the models that are loaded now."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.tables import echo_table
from modelplug.history.records import now
from modelplug.history.workers import running_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.cli.context import App
    from modelplug.history.monitor import LiveFigures, WorkerSampler

__all__ = ["command"]

COLUMNS = (
    "PID",
    "MODEL",
    "BACKEND",
    "DEVICE",
    "STATE",
    "CPU",
    "MEMORY",
    "DEVICE MEMORY",
    "REQUESTS",
    "TOKENS",
    "TOKENS/S",
    "AGE",
)
NUMBERS = ("PID", "CPU", "MEMORY", "DEVICE MEMORY", "REQUESTS", "TOKENS", "TOKENS/S", "AGE")
FIRST_INTERVAL = 0.3
"""Seconds between the two looks that the first figures of the processors take."""


@click.command("monitor")
@click.option("--once", is_flag=True, help="Look once, then end.")
@click.option("--count", type=click.IntRange(min=1), help="Look so many times, then end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on a line for each look.")
@click.pass_obj
def command(app: App, *, once: bool, count: int | None, interval: float, as_json: bool) -> None:
    """Show the models that are loaded now, by whatever program of yours, and what they take.

    TOKENS/S is that of the last finished request; with a `>` before it, of the requests under way, which give
    at least so many. Ctrl-C ends it. Where the output is no terminal, it looks once.
    """
    from modelplug.history.monitor import WorkerSampler

    if not app.runtime.config.settings.monitoring:
        app.note("monitoring is switched off in the settings: models loaded since then are not shown")
    looks = 1 if once or (count is None and not as_json and not sys.stdout.isatty()) else count
    samples = _samples(WorkerSampler(app.runtime.paths.workers), looks, interval)
    try:
        if as_json:
            for sample in samples:
                app.echo_line({"time": now(), "models": [figures.to_dict() for figures in sample]})
        elif looks == 1:
            _print_once(app, next(samples))
        else:
            _show_live(samples)
    except KeyboardInterrupt:
        # That is how it is meant to end.
        click.echo(err=True)


def _samples(sampler: WorkerSampler, looks: int | None, interval: float) -> Iterator[list[LiveFigures]]:
    if running_models(sampler.folder):
        sampler.sample()
        time.sleep(FIRST_INTERVAL)
    done = 0
    while True:
        yield sampler.sample()
        done += 1
        if looks is not None and done >= looks:
            return
        time.sleep(interval)


def _print_once(app: App, sample: list[LiveFigures]) -> None:
    if sample:
        echo_table(COLUMNS, map(_row, sample), numbers=NUMBERS)
    else:
        app.note("no model is loaded")


def _show_live(samples: Iterator[list[LiveFigures]]) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, transient=False) as live:
        for sample in samples:
            live.update(_drawn(sample), refresh=True)


def _drawn(sample: list[LiveFigures]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not sample:
        return Text("no model is loaded", style="dim")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    rows = [[str(cell) for cell in _row(figures)] for figures in sample]
    for number, column in enumerate(COLUMNS):
        # Columns that say nothing of any model only take room.
        if any(row[number] for row in rows):
            table.add_column(column, justify="right" if column in NUMBERS else "left", overflow="fold")
    kept = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows)]
    for row in rows:
        table.add_row(*(Text(row[number]) for number in kept))
    return table


def _row(figures: LiveFigures) -> tuple[object, ...]:
    from modelplug.backends.types import format_speed
    from modelplug.cli.model_rows import size_of
    from modelplug.history.places.machine import name_of

    model = figures.model
    speed = ""
    if model.active and model.pieces_per_second is not None:
        speed = f">{format_speed(model.pieces_per_second)}"
    elif model.last_speed is not None:
        speed = format_speed(model.last_speed)
    taken = ""
    if figures.device_used is not None:
        taken = f"{size_of(figures.device_used)} of {size_of(figures.device_total)}"
    return (
        model.pid,
        name_of(_path(model.model)),
        model.backend,
        model.device,
        f"busy ({model.active})" if model.active else "idle",
        "" if figures.cpu_percent is None else f"{figures.cpu_percent:.0f} %",
        size_of(figures.resident_bytes),
        taken,
        f"{model.requests}" + (f", {model.failed} failed" if model.failed else ""),
        model.completion_tokens,
        speed,
        _age(figures.seconds),
    )


def _path(text: str) -> Any:
    from pathlib import Path

    return Path(text)


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
