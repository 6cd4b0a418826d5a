"""`modelplug history`: what was run, measured and failed on this machine."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

import attrs
import click

from modelplug.backends.types import format_speed
from modelplug.cli.model_rows import ModelNames, size_of
from modelplug.cli.tables import echo_table
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.cli.context import App
    from modelplug.history import BenchmarkRecord, FailureRecord, RunRecord

__all__ = ["command", "moment"]

_AGO = re.compile(r"(\d+)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command("history")
@click.argument("kind", required=False, default="runs", type=click.Choice(["runs", "benchmarks", "failures"]))
@click.option("--model", help="Only this model: a name, a path, or the beginning of a fingerprint.")
@click.option("--backend", help="Only this backend.")
@click.option("--since", metavar="WHEN", help="Only from then on: 2026-05-01, or 90m, 24h, 7d, 2w ago.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="At most; 0 is all.")
@click.option("--imported", is_flag=True, help="Runs that migrations brought over from other programs.")
@click.option("--document", type=int, metavar="ID", help="Print the whole result of one benchmark as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    *,
    kind: str,
    model: str | None,
    backend: str | None,
    since: str | None,
    limit: int,
    imported: bool,
    document: int | None,
    as_json: bool,
) -> None:
    """Show earlier runs, benchmarks or failures, newest first.

    What was asked and answered is not there: it is never recorded. `modelplug config set monitoring false`
    stops recording.
    """
    if document is not None:
        _print_document(app, document)
        return
    filters: dict[str, Any] = {
        "fingerprint": _fingerprint(app, model),
        "backend": backend,
        "since": moment(since),
        "limit": limit or None,
    }
    history = app.runtime.history
    if kind == "runs":
        _print_runs(app, history.runs(**filters, imported=imported), as_json=as_json)
    elif kind == "benchmarks":
        _print_benchmarks(app, history.benchmarks(**filters), as_json=as_json)
    else:
        _print_failures(app, history.failures(**filters), as_json=as_json)


def moment(since: str | None) -> str | None:
    """A point in time as the history spells it: a date, or so many minutes, hours, days or weeks ago.

    Args:
        since: What the user typed; None for none.

    Raises:
        UsageError: It is neither.
    """
    if since is None:
        return None
    ago = _AGO.fullmatch(since)
    try:
        if ago is not None:
            span = datetime.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return (datetime.datetime.now(datetime.timezone.utc) - span).isoformat(timespec="milliseconds")
        given = datetime.datetime.fromisoformat(since)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {since!r} is no point in time",
            why="it is neither a date nor a span",
            advice="For example: --since 2026-05-01, or --since 7d.",
        ) from error
    # A date without a zone is meant as the clock on the wall shows it.
    return given.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")


def _fingerprint(app: App, model: str | None) -> str | None:
    if model is None:
        return None
    known = ModelNames(app.runtime.history).fingerprint_of(model)
    if known is not None:
        return known
    from modelplug.backends.inspection import inspected

    return inspected(model, app.runtime).fingerprint


def _print_document(app: App, number: int) -> None:
    found = app.runtime.history.benchmark_document(number)
    if found is None:
        raise UsageError(
            f"there is no benchmark {number}",
            advice="`modelplug history benchmarks --json` shows the number of each as `document`.",
        )
    app.echo_json(found)


def _print_runs(app: App, runs: list[RunRecord], *, as_json: bool) -> None:
    names = ModelNames(app.runtime.history)
    if as_json:
        app.echo_json([{**_plain(run, names), "tokens_per_second": run.tokens_per_second} for run in runs])
        return
    columns = (
        "ID",
        "TIME (UTC)",
        "MODEL",
        "BACKEND",
        "DEVICE",
        "PROMPT",
        "TOKENS",
        "TOKENS/S",
        "FIRST",
        "END",
    )
    rows = [
        (
            run.id,
            _minute(run.time),
            names.of(run.fingerprint),
            run.backend,
            run.device,
            run.prompt_tokens,
            run.completion_tokens,
            "" if run.tokens_per_second is None else format_speed(run.tokens_per_second),
            "" if run.first_token_seconds is None else f"{run.first_token_seconds:.2f} s",
            run.finish_reason if run.success else "failed",
        )
        for run in runs
    ]
    _table(app, columns, rows, ("ID", "PROMPT", "TOKENS", "TOKENS/S", "FIRST"))


def _print_benchmarks(app: App, benchmarks: list[BenchmarkRecord], *, as_json: bool) -> None:
    names = ModelNames(app.runtime.history)
    if as_json:
        app.echo_json([_plain(benchmark, names) for benchmark in benchmarks])
        return
    columns = ("ID", "TIME (UTC)", "MODEL", "BACKEND", "DEVICE", "PROMPT/S", "TOKENS/S", "MEMORY", "VERDICT")
    rows = [
        (
            one.document,
            _minute(one.time),
            one.model or names.of(one.fingerprint),
            one.backend,
            one.device,
            "" if one.prompt_speed is None else format_speed(one.prompt_speed),
            "" if one.generate_speed is None else format_speed(one.generate_speed),
            size_of(one.resident_bytes),
            _verdict(one),
        )
        for one in benchmarks
    ]
    _table(app, columns, rows, ("ID", "PROMPT/S", "TOKENS/S", "MEMORY"))


def _verdict(benchmark: BenchmarkRecord) -> str:
    if not benchmark.success:
        return "failed"
    return {True: "stable", False: "unstable", None: ""}[benchmark.stable]


def _print_failures(app: App, failures: list[FailureRecord], *, as_json: bool) -> None:
    names = ModelNames(app.runtime.history)
    if as_json:
        app.echo_json([_plain(failure, names) for failure in failures])
        return
    columns = ("ID", "TIME (UTC)", "MODEL", "BACKEND", "DEVICE", "PHASE", "CAUSE", "ERROR")
    rows = [
        (
            one.id,
            _minute(one.time),
            names.of(one.fingerprint),
            one.backend,
            one.device,
            one.phase,
            one.cause,
            one.error,
        )
        for one in failures
    ]
    _table(app, columns, rows, ("ID",))


def _table(
    app: App, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]], numbers: tuple[str, ...]
) -> None:
    found = list(rows)
    if found:
        echo_table(columns, found, numbers=numbers)
    else:
        app.note(app.runtime.history.trouble or "there is nothing of this kind in the history")


def _plain(record: Any, names: ModelNames) -> dict[str, Any]:
    return {"name": names.of(record.fingerprint), **attrs.asdict(record)}


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
