"""What the verbs that measure share: options, the display of progress, and saving results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelplug.cli.progress import ProgressDisplay
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from modelplug.benchmark.model_benchmark import ModelBenchmark
    from modelplug.benchmark.records import BenchmarkReport
    from modelplug.benchmark.run import Progress
    from modelplug.cli.context import App

__all__ = [
    "measuring",
    "measuring_options",
    "output_option",
    "progress_display",
    "save_outputs",
    "settings_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_NEUTRAL = ("gpu_layers", "context_size", "threads", "batch_size")
# Where no bar can be drawn, a line from time to time says that the program is alive.
_LINE_SECONDS = 10.0


def measuring_options(function: F) -> F:
    """Add the options that say how much is measured."""
    options = (
        click.option("--quick", is_flag=True, help="Measure less: two workloads, seven rounds, 30 s."),
        click.option("--rounds", type=click.IntRange(min=1), help="Loads of each candidate. [default: 10]"),
        click.option(
            "--time",
            "budget",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="For each candidate; after that no new round begins. [default: 180]",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="For loading, and for the first token of each request.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


output_option = click.option(
    "--output",
    "-o",
    "outputs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the result to FILE: .json, .md, .csv or .html. May be repeated.",
)


def settings_of(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the options ask for."""
    from modelplug.cli.generation import assignments

    named = {name: options[name] for name in _NEUTRAL if options[name] is not None}
    return {**named, **dict(assignments(options["extra"]))}


def save_outputs(app: App, report: BenchmarkReport, outputs: Sequence[Path], *, quiet: bool = False) -> None:
    """Write the report to every file asked for, and say so on standard error."""
    from modelplug.benchmark.earlier import earlier_figures
    from modelplug.benchmark.reports import save_report

    earlier = earlier_figures(report, app.runtime) if any(o.suffix == ".html" for o in outputs) else ()
    for path in outputs:
        try:
            save_report(report, path.expanduser(), earlier)
        except OSError as error:
            raise ModelplugError(
                f"the result can't be written to {path}",
                why=error.strerror or str(error),
                advice="Write it elsewhere: `modelplug bench --from NUMBER -o FILE`.",
            ) from error
        if not quiet:
            app.note(f"written to {path}")


@contextlib.contextmanager
def measuring(app: App) -> Iterator[ModelBenchmark]:
    """A benchmark whose progress is shown; afterwards it is said where the result is kept.

    Ctrl-C ends the measuring and the block, and is in the report.
    """
    from modelplug.benchmark.model_benchmark import ModelBenchmark
    from modelplug.benchmark.stored import RoundsFile

    file = RoundsFile(app.runtime)
    with progress_display(app) as display:
        benchmark = ModelBenchmark(
            app.runtime,
            on_progress=lambda progress: display.say(_describe_step(progress), progress.done),
            on_round=file.keep,
        )
        try:
            yield benchmark
        except KeyboardInterrupt:
            if benchmark.report is None:
                raise
    if file.trouble:
        app.warn(file.trouble)
    if benchmark.number is not None:
        number = benchmark.number
        app.note(f"kept in the history as benchmark {number}: `modelplug compare {number}` measures it again")
    if benchmark.number is not None or not app.runtime.config.settings.monitoring:
        file.remove()


def progress_display(app: App) -> ProgressDisplay:
    """Shows where a measurement is; without a terminal, a line from time to time says that it goes on."""
    return ProgressDisplay(app.note, seconds=_LINE_SECONDS)


def _describe_step(progress: Progress) -> str:
    """Where a benchmark is, in words."""
    return f"round {progress.round + 1} of {progress.rounds}: {progress.label}, {progress.step}"
