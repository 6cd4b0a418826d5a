"""The root of the command line: the table of verbs, and how errors end the program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from modelplug.cli.context import App
from modelplug.cli.lazy import LazyGroup
from modelplug.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, ModelplugError
from resnet_bk._version import __version__

__all__ = ["main", "program"]

# Raised by click 8.2 and later for a group without a verb; earlier ones print the help and end.
_HELP_IS_THE_ANSWER: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

VERBS = {
    "doctor": ("resnet_bk.cli.doctor:command", "Say which kernels compute here, and check them."),
    "export": ("resnet_bk.cli.export:command", "Write a model as an ONNX file."),
    "train": ("resnet_bk.cli.train:command", "Train a model on text."),
}


@click.group(
    cls=LazyGroup,
    lazy=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Run 'resnet-bk VERB --help' for a verb's options.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def program(ctx: click.Context, *, debug: bool) -> None:
    """Train ResNet-BK language models, and look after them."""
    ctx.obj = App(debug=debug)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its status; the target of the `resnet-bk` script."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    try:
        status: Any = program.main(args=arguments, prog_name="resnet-bk", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except _HELP_IS_THE_ANSWER as error:
        error.show()
        return int(error.exit_code)
    except click.UsageError as error:
        from modelplug.cli.usage import usage_error

        return _expected(usage_error(error, arguments), arguments, debug=debug)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except ModelplugError as error:
        return _expected(error, arguments, debug=debug)
    except Exception as error:  # noqa: BLE001  the last guard: whatever is not expected is a bug
        return _unexpected(error, debug=debug)
    return status if isinstance(status, int) else EXIT_DONE


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
        click.echo("  try: the same command with `resnet-bk --debug ...` to see where", err=True)
    return EXIT_FAILED


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)
