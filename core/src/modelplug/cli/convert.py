"""`modelplug convert`: make a GGUF file of a model that engines can't run as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelplug.cli.progress import ProgressDisplay
from modelplug.cli.rendering import echo_pairs

if TYPE_CHECKING:
    from modelplug.backends.conversion_comparison import Verification
    from modelplug.backends.converting import Conversion
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("convert")
@click.argument("model", metavar="MODEL")
@click.option(
    "--to",
    default="F16",
    show_default=True,
    metavar="TYPE",
    help="How to pack the weights: F16, Q8_0 or Q4_0.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write. [default: MODEL-TYPE.gguf, beside MODEL]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--check", "only_check", is_flag=True, help="Only say whether MODEL needs conversion.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App, /, *, model: str, to: str, output: Path | None, force: bool, only_check: bool, as_json: bool
) -> None:
    """Convert MODEL, a Hugging Face directory of the Llama family, to a GGUF file.

    MODEL is a directory or a registered name. The result is compared with MODEL, by running both where that
    is possible, and appears only when it computes the same. What can't be converted is refused with the name
    of the program that can.
    """
    from modelplug.backends.converting import ModelConverter

    converter = ModelConverter(app.runtime)
    if only_check:
        needed = converter.needs_conversion(model)
        if as_json:
            app.echo_json({"path": model, "needs_conversion": needed})
        else:
            click.echo(f"{model} {'needs' if needed else 'does not need'} conversion")
        return
    with ProgressDisplay(_echo_step) as display:
        conversion = converter.convert(model, to=to, output=output, force=force, on_progress=display.say)
    for note in conversion.notes:
        app.warn(note)
    if as_json:
        from modelplug.backends.plain import plain

        app.echo_json(plain(conversion))
        return
    _print(app, conversion)


def _print(app: App, conversion: Conversion) -> None:
    from modelplug.system.report import format_bytes

    if not conversion.converted:
        app.note("this conversion was done before: --force does it again")
    verified = _verified(conversion.verification)
    size, before = format_bytes(conversion.size), format_bytes(conversion.source_size)
    echo_pairs(
        [
            ("Written" if conversion.converted else "There", conversion.path),
            ("Type", conversion.quantization),
            ("Size", f"{size}, from {before}"),
            ("Verified", verified),
        ]
    )
    app.note(f'try: modelplug run {conversion.path} "Once upon a time"')


def _verified(verification: Verification | None) -> str:
    if verification is None:
        return ""
    if verification.method != "logits":
        runs = f"{verification.backend} runs the result" if verification.backend else "nothing ran the result"
        return (
            f"in part: every tensor was read back and compared with its source, and {runs};\n"
            f"but their probabilities were not compared ({verification.note})"
        )
    assert verification.error is not None
    assert verification.limit is not None
    return (
        f"the same tokens, and log probabilities within {verification.error:.2%} of their spread (limit "
        f"{verification.limit:.0%})\nat {verification.positions} positions, "
        f"{verification.backend} against {verification.source_backend}"
    )


def _echo_step(step: str) -> None:
    click.echo(click.style(step, dim=True), err=True)
