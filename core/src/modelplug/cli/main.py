"""The root of the command line: global options, the table of verbs, and how errors end the program."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from modelplug._version import __version__
from modelplug.cli.context import App
from modelplug.cli.lazy import LazyGroup
from modelplug.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, ModelplugError

__all__ = ["main", "program"]

# Raised by click 8.2 and later for a group without a verb; earlier ones print the help and end.
_HELP_IS_THE_ANSWER: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

VERBS = {
    "run": ("modelplug.cli.run:command", "Generate text with a model."),
    "chat": ("modelplug.cli.chat:command", "Talk with a model."),
    "inspect": ("modelplug.cli.inspect:command", "Show what a model file is, and what it needs."),
    "recommend": ("modelplug.cli.recommend:command", "Show which backend would run a model, and why."),
    "convert": ("modelplug.cli.convert:command", "Make a GGUF file of a model directory."),
    "bench": ("modelplug.cli.bench:command", "Measure how fast models load and run, and their memory."),
    "test": ("modelplug.cli.test:command", "Try models out: whether each loads, answers and makes sense."),
    "compare": ("modelplug.cli.compare:command", "Compare measurements: what changed, and how sure that is."),
    "optimize": ("modelplug.cli.optimize:command", "Find faster settings for a model, by measuring them."),
    "backends": ("modelplug.cli.backends:command", "List the engines and how usable each is here."),
    "doctor": ("modelplug.cli.doctor:command", "Examine this machine and installation; report for a bug."),
    "history": ("modelplug.cli.history:command", "Show earlier runs, benchmarks and failures."),
    "monitor": ("modelplug.cli.monitor:command", "Show the models that are loaded now, and what they take."),
    "insights": ("modelplug.cli.insights:command", "Show what earlier runs suggest to do differently."),
    "wizard": ("modelplug.cli.wizard:command", "Propose settings from how you use models."),
    "models": ("modelplug.cli.models:command", "Give models names, and list the known ones."),
    "config": ("modelplug.cli.config:command", "Show and change settings."),
    "migrate": ("modelplug.cli.migrate:command", "Bring what older programs left to today's form, and back."),
    "plugins": ("modelplug.cli.plugins:command", "List plugins, and switch them on and off."),
}


class ReaderGoneError(Exception):
    """Whoever read our output has closed it, as `| head` does."""


class Program(LazyGroup):
    """The built-in verbs, and after them those that plugins bring."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click does, but a reader that has gone is not turned into exit status 1."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a reader that has gone is not turned into exit status 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Built-in verbs first; then those of plugins."""
        return [*super().list_commands(ctx), *self._plugin_help(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A built-in verb without touching plugins; otherwise ask the plugins."""
        command = super().get_command(ctx, cmd_name)
        if command is None:
            from modelplug.cli.plugin_commands import plugin_commands

            command = plugin_commands(_app(ctx), taken=frozenset(VERBS)).get(cmd_name)
        return command

    def help_line(self, ctx: click.Context, cmd_name: str) -> str | None:
        """The line shown in help; that of a plugin's command as it was when last loaded."""
        line = super().help_line(ctx, cmd_name) if cmd_name in self.lazy else None
        return line or self._plugin_help(ctx).get(cmd_name)

    def _plugin_help(self, ctx: click.Context) -> dict[str, str]:
        from modelplug.cli.plugin_commands import plugin_help

        return plugin_help(_app(ctx), taken=frozenset(VERBS))


def _app(ctx: click.Context) -> App:
    """The invocation; for `--help`, which click answers while it reads options, one made of those so far."""
    app = ctx.find_object(App)
    if app is None:
        given = ctx.params
        app = ctx.obj = App(
            debug=bool(given.get("debug")),
            strict_plugins=bool(given.get("strict_plugins")),
            no_plugins=bool(given.get("no_plugins")),
        )
    return app


@click.group(
    cls=Program,
    lazy=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Run 'modelplug VERB --help' for a verb's options.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--strict-plugins", is_flag=True, help="Fail (exit 3) if any plugin fails.")
@click.option("--no-plugins", is_flag=True, help="Leave all plugins out.")
@click.pass_context
def program(ctx: click.Context, *, debug: bool, strict_plugins: bool, no_plugins: bool) -> None:
    """Run language models on your own machine through whichever engine works there."""
    ctx.obj = App(debug=debug, strict_plugins=strict_plugins, no_plugins=no_plugins)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its status; the target of the `modelplug` script."""
    # A late Ctrl-C must not turn the interpreter's own end into a death by signal.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    _prepare_streams()
    try:
        status: Any = program.main(args=arguments, prog_name="modelplug", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except _HELP_IS_THE_ANSWER as error:
        error.show()
        return int(error.exit_code)
    except click.UsageError as error:
        from modelplug.cli.usage import usage_error

        return _expected(usage_error(error, arguments), arguments, debug=debug)
    except click.ClickException as error:
        return _expected(ModelplugError(error.format_message()), arguments, debug=debug)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except (ReaderGoneError, BrokenPipeError):
        # Nothing is wrong and nobody is listening.
        _give_up_output()
        return EXIT_DONE
    except ModelplugError as error:
        return _expected(error, arguments, debug=debug)
    except OSError as error:
        if error.errno not in _OUT_OF_SPACE:
            return _unexpected(error, debug=debug)
        _give_up_output()
        failure = ModelplugError(
            "writing failed", why=error.strerror or str(error), advice="Free some space, then try again."
        )
        return _expected(failure, [], debug=debug)
    except Exception as error:  # noqa: BLE001  the last guard: whatever is not expected is a bug
        return _unexpected(error, debug=debug)
    return status if isinstance(status, int) else EXIT_DONE


def _prepare_streams() -> None:
    # A program can be started without any of the three; what is read and written then comes to nothing.
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  it lives as long as the program
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    # Characters that the terminal can't show, and bytes that are no characters, must not end the program.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _give_up_output() -> None:
    """Leave nothing for the interpreter to write to standard output at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _expected(error: ModelplugError, arguments: list[str], *, debug: bool) -> int:
    if debug:
        _print_traceback(error)
    app = App(debug=debug)
    if "--json" in arguments:
        app.echo_json(error.to_dict())
    app.show_error(error)
    return error.exit_code


def _unexpected(error: Exception, *, debug: bool) -> int:
    if debug:
        _print_traceback(error)
    else:
        name = type(error).__name__
        click.echo(click.style("unexpected error: ", fg="red", bold=True) + f"{name}: {error}", err=True)
        click.echo("  This is a fault in modelplug or in a plugin.", err=True)
        click.echo(
            "  try: the same command with `modelplug --debug ...` to see where, and `modelplug doctor`",
            err=True,
        )
    return EXIT_FAILED


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)
