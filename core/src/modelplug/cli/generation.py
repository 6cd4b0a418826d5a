"""What `run` and `chat` share: options, loading with its reports, and streaming to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from modelplug.errors import EXIT_DONE, EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.model import CancelToken, Chunk, GenerateParams
    from modelplug.backends.types import Attempt, LoadPlan
    from modelplug.cli.context import App

__all__ = ["generation_options", "load_for", "load_options", "params_of", "show_outcome", "stream"]

F = TypeVar("F", bound=Callable[..., Any])

_GENERATION: tuple[tuple[str, Any, str], ...] = (
    ("max_tokens", click.IntRange(min=1), "Tokens to generate at most."),
    ("temperature", click.FloatRange(min=0), "0 is greedy; higher is more varied."),
    ("top_k", click.IntRange(min=0), "Keep the K most probable tokens; 0 keeps all."),
    ("top_p", click.FloatRange(0, 1), "Keep the most probable tokens of this total probability."),
    ("min_p", click.FloatRange(0, 1), "Keep tokens at least this fraction as probable as the best."),
    ("repeat_penalty", click.FloatRange(0.01, 10), "Make recent tokens less probable; 1 is none."),
    ("seed", click.IntRange(0, 2**32 - 1), "Same seed, same text."),
)
_LOADING = ("gpu_layers", "context_size", "threads", "batch_size")


def generation_options(function: F) -> F:
    """Add the options that become `GenerateParams`; what is not given comes from the settings."""
    function = click.option(
        "--overflow",
        type=click.Choice(["error", "truncate"]),
        help="With a prompt longer than the context: fail, or drop its beginning and say so.",
    )(function)
    function = click.option(
        "--unsupported",
        type=click.Choice(["error", "warn"]),
        help="With a parameter that the engine can't honour: fail, or go on without it and say so.",
    )(function)
    function = click.option("--grammar", metavar="GBNF", help="A grammar that the output must follow.")(
        function
    )
    function = click.option(
        "--stop", multiple=True, metavar="TEXT", help="Stop before this text. May be given several times."
    )(function)
    for name, kind, text in reversed(_GENERATION):
        function = click.option(f"--{name.replace('_', '-')}", type=kind, help=text)(function)
    return function


def load_options(function: F) -> F:
    """Add the options that say how to load; what is not given comes from the settings."""
    options = (
        click.option("--backend", metavar="NAME", help="Use this engine, whatever else is installed."),
        click.option("--gpu-layers", type=click.IntRange(min=-1), help="Layers on the GPU: -1 all, 0 none."),
        click.option("--context-size", type=click.IntRange(min=1), help="Tokens the context holds."),
        click.option("--threads", type=click.IntRange(min=1), help="CPU threads."),
        click.option("--batch-size", type=click.IntRange(min=1), help="Prompt tokens evaluated at once."),
        click.option("--isolation", type=click.Choice(["process", "inline"]), help="Where the engine runs."),
        click.option(
            "--fallback",
            type=click.Choice(["never", "ask", "auto"]),
            help="After a failure, try the next plan?",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            help="Seconds to load, and to the first token.",
        ),
        click.option("--force", is_flag=True, help="Try even what should not fit into memory."),
        click.option(
            "--set",
            "extra",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of the backend. May be repeated.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def params_of(app: App, options: dict[str, Any]) -> GenerateParams:
    """The parameters: those of the settings, with the given options on top."""
    from modelplug.backends.api import default_params

    given = {name: options[name] for name, _kind, _text in _GENERATION if options[name] is not None}
    for name in ("grammar", "overflow", "unsupported"):
        if options[name] is not None:
            given[name] = options[name]
    if options["stop"]:
        given["stop"] = options["stop"]
    try:
        return default_params(app.runtime, **given)
    except ValueError as error:
        raise UsageError(
            "a parameter is not usable", why=str(error), advice="See `modelplug run --help`."
        ) from error


def load_for(app: App, model: str, options: dict[str, Any], *, embeddings: bool = False) -> LoadedModel:
    """Load the model, telling the user on standard error what is being tried."""
    from modelplug.backends.api import load

    settings = {name: options[name] for name in _LOADING if options[name] is not None}
    settings.update(assignments(options["extra"]))
    return load(
        model,
        backend=options["backend"],
        isolation=options["isolation"],
        fallback=options["fallback"],
        timeout=options["timeout"],
        force=options["force"],
        embeddings=embeddings,
        runtime=app.runtime,
        on_attempt=_announce(app),
        on_fallback=_ask(app),
        **settings,
    )


def assignments(pairs: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    import json

    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--set {pair!r} is not NAME=VALUE",
                why="a setting is written as its name, an equals sign and its value",
                advice="For example: --set use_mlock=true",
            )
        try:
            yield name, json.loads(text)
        except ValueError:
            yield name, text


def _announce(app: App) -> Callable[[LoadPlan], None]:
    def announce(plan: LoadPlan) -> None:
        if sys.stderr.isatty():
            where = "CPU" if plan.device == "cpu" else plan.device
            app.note(f"loading with {plan.backend} on {where} ...")

    return announce


def _ask(app: App) -> Callable[[Attempt, LoadPlan], bool] | None:
    if not sys.stdin.isatty():
        return None

    def ask(failed: Attempt, following: LoadPlan) -> bool:
        app.warn(f"{failed.plan.backend} failed: {failed.error}")
        return click.confirm(f"Go on with {following.backend} on {following.device}?", default=True, err=True)

    return ask


def show_outcome(app: App, loaded: LoadedModel, *, as_json: bool) -> None:
    """Say on standard error where the outcome differs from what was wanted; nothing if it does not."""
    if not as_json:
        for note in loaded.load_result.notes:
            app.warn(note)


def stream(
    app: App,
    loaded: LoadedModel,
    start: Callable[[CancelToken], Iterator[Chunk]],
    *,
    as_json: bool,
    stats: bool,
    collect: list[str] | None = None,
) -> int:
    """Write chunks as they come.

    Args:
        app: The invocation.
        loaded: The model, for the statistics.
        start: Begins the request; given the token that Ctrl-C sets.
        as_json: Whether to write JSON lines.
        stats: Whether to show statistics after the text.
        collect: Takes the text, if given.

    Returns:
        The exit status.
    """
    from modelplug.backends.model import CancelToken

    cancel = CancelToken()
    last: Chunk | None = None
    try:
        for chunk in start(cancel):
            last = chunk
            if collect is not None:
                collect.append(chunk.text)
            if as_json:
                if chunk.text:
                    app.echo_line({"text": chunk.text, **({"tokens": chunk.tokens} if chunk.tokens else {})})
            else:
                click.echo(chunk.text, nl=False)
    except KeyboardInterrupt:
        cancel.cancel()
        if as_json:
            app.echo_line({**_last_line(loaded, None), "finish_reason": "cancelled"})
        else:
            click.echo()
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    if as_json:
        app.echo_line(_last_line(loaded, last))
    else:
        click.echo()
        _show_statistics(app, last, stats=stats)
    return EXIT_DONE


def _last_line(loaded: LoadedModel, last: Chunk | None) -> dict[str, Any]:
    result = loaded.load_result
    statistics = last.stats if last else None
    return {
        "finish_reason": last.finish_reason if last else None,
        "stats": {
            **attrs.asdict(statistics),
            "tokens_per_second": statistics.tokens_per_second,
        }
        if statistics
        else None,
        "load": {
            "seconds": result.load_time,
            "memory_bytes": result.memory_bytes,
            "resident_bytes": result.resident_bytes,
            "device_bytes": result.device_bytes,
            "requested": result.requested,
            "effective": attrs.asdict(loaded.effective),
            "attempts": [
                {
                    "backend": attempt.plan.backend,
                    "device": attempt.plan.device,
                    "gpu_layers": attempt.plan.gpu_layers,
                    "success": attempt.success,
                    "seconds": attempt.seconds,
                    "error": str(attempt.error) if attempt.error else None,
                }
                for attempt in result.attempts
            ],
        },
    }


def _show_statistics(app: App, last: Chunk | None, *, stats: bool) -> None:
    if last is None or last.stats is None:
        return
    for warning in last.stats.warnings:
        app.warn(warning)
    if stats:
        numbers = last.stats
        speed = f", {numbers.tokens_per_second:.1f} tokens/s" if numbers.tokens_per_second else ""
        first = (
            f", first after {numbers.first_token_seconds * 1000:.0f} ms"
            if numbers.first_token_seconds
            else ""
        )
        app.note(
            f"{numbers.prompt_tokens} prompt tokens, {numbers.completion_tokens} generated{speed}{first}; "
            f"ended by {last.finish_reason}"
        )
