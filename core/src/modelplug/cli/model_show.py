"""`modelplug models show` and `forget`: what is known of one model, and the end of it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click

from modelplug.backends.types import format_speed
from modelplug.cli.model_rows import facts_of, kind_of, size_of
from modelplug.cli.rendering import echo_heading, echo_pairs
from modelplug.cli.tables import echo_table
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.history import HistoryStore, RunRecord, SeenModel

__all__ = ["forget", "remove", "show"]


@click.command("show")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(app: App, *, model: str, as_json: bool) -> None:
    """Show what is known of MODEL, and what was measured with it here.

    MODEL is a name, a path, or the beginning of a fingerprint.
    """
    seen, names = _find(app, model)
    history = app.runtime.history
    runs = history.runs(fingerprint=seen.fingerprint, limit=None)
    failures = history.failures(fingerprint=seen.fingerprint, limit=None)
    benchmarks = history.benchmarks(fingerprint=seen.fingerprint, limit=None)
    places = _measured(runs)
    if as_json:
        app.echo_json(
            {
                "names": names,
                "path": str(seen.path),
                "exists": seen.path.exists(),
                "fingerprint": seen.fingerprint,
                **facts_of(seen),
                "first_seen": seen.first_seen,
                "last_seen": seen.last_seen,
                "runs": len(runs),
                "last_run": runs[0].time if runs else None,
                "failures": len(failures),
                "benchmarks": len(benchmarks),
                "measured": places,
            }
        )
        return
    missing = "" if seen.path.exists() else " (missing)"
    last = f", the last one on {runs[0].time[:16].replace('T', ' ')} UTC" if runs else ""
    echo_pairs(
        [
            ("names", ", ".join(names)),
            ("path", f"{seen.path}{missing}"),
            ("model", kind_of(seen)),
            ("parameters", f"{seen.parameters:,}" if seen.parameters else None),
            ("size", size_of(seen.size)),
            ("fingerprint", seen.fingerprint),
            ("runs", f"{len(runs)}{last}"),
            ("failures", f"{len(failures)}, the last one: {failures[0].error}" if failures else 0),
            ("benchmarks", len(benchmarks)),
        ]
    )
    if places:
        echo_heading("Measured here")
        rows = [
            (p["backend"], p["device"], p["threads"], p["runs"], format_speed(p["tokens_per_second"]))
            for p in places
        ]
        columns = ("BACKEND", "DEVICE", "THREADS", "RUNS", "TOKENS/S")
        echo_table(columns, rows, numbers=columns[2:])


def _find(app: App, text: str) -> tuple[SeenModel, list[str]]:
    """The model that is meant, and every name it has."""
    from modelplug.backends.inspection import inspected
    from modelplug.cli.model_rows import ModelNames
    from modelplug.history.models import seen_model

    history = app.runtime.history
    known = history.find_model(text)
    fingerprint = known.fingerprint if known is not None else ModelNames(history).fingerprint_of(text)
    seen = history.seen().get(fingerprint) if fingerprint else None
    if seen is None:
        # Never run here: what its file says now.
        seen = seen_model(inspected(text, app.runtime))
    same = [model.name for model in history.models() if model.fingerprint == seen.fingerprint]
    return seen, same or ([text] if known is not None else [])


def _measured(runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Median speed for each engine and device, fastest first."""
    speeds: dict[tuple[str, str, int, int | None], list[float]] = defaultdict(list)
    for run in runs:
        if run.tokens_per_second is not None:
            speeds[run.backend, run.device, run.gpu_layers, run.threads].append(run.tokens_per_second)
    found = [
        {
            "backend": backend,
            "device": device,
            "gpu_layers": layers,
            "threads": threads,
            "runs": len(values),
            "tokens_per_second": statistics.median(values),
        }
        for (backend, device, layers, threads), values in speeds.items()
    ]
    return sorted(found, key=lambda place: -float(place["tokens_per_second"]))


@click.command("forget")
@click.argument("name")
@click.option("--history", "evidence", is_flag=True, help="Remove its runs, failures and benchmarks too.")
@click.pass_obj
def forget(app: App, *, name: str, evidence: bool) -> None:
    """Forget NAME; the model's file stays where it is, and so does what was measured with it."""
    _forget(app, name, evidence=evidence)


@click.command("remove")
@click.argument("name")
@click.pass_obj
def remove(app: App, *, name: str) -> None:
    """Forget NAME; the same as `forget`."""
    _forget(app, name, evidence=False)


def _forget(app: App, name: str, *, evidence: bool) -> None:
    history = app.runtime.history
    known = history.find_model(name)
    if known is None:
        raise _unknown(name, history)
    history.remove_model(name)
    click.echo(f"{name} is forgotten; its file stays where it is")
    if evidence and known.fingerprint:
        removed = history.forget_evidence(known.fingerprint)
        click.echo(f"{removed} entries of its history are removed")


def _unknown(name: str, history: HistoryStore) -> UsageError:
    near = history.nearest_names(name)
    return UsageError(
        f"there is no model named {name!r}",
        why=history.trouble or (f"did you mean {' or '.join(near)}?" if near else ""),
        advice="`modelplug models list` shows the names",
    )
