"""`resnet-bk doctor`: which kernels compute here, why, and whether they compute what they should."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.doctor import finding_lines, section
from modelplug.cli.rendering import pairs_as_lines
from modelplug.errors import EXIT_FAILED

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, app: App, /, *, as_json: bool) -> None:
    """Say which kernels compute here and why, and let each compute something that is known.

    Ends with findings, each with what to type. The exit status is 1 if something keeps models from being
    computed rightly.
    """
    from modelplug.system.redact import redact
    from resnet_bk.cli.examination import examine

    if not as_json:
        app.note("letting every kernel compute, each in a process of its own; this takes a few seconds")
    report = examine()
    plain: dict[str, Any] = redact(report.to_dict())
    if as_json:
        app.echo_json(plain)
    else:
        click.echo("\n".join(_as_text(plain)))
    if not report.healthy:
        ctx.exit(EXIT_FAILED)


def _as_text(plain: Mapping[str, Any]) -> Iterator[str]:
    program = plain["program"]
    yield f"resnet-bk {program['version']} doctor"
    yield from section("Program", _program_lines(plain))
    if "kernels" in plain:
        for device, item in plain["kernels"]["devices"].items():
            yield from section(f"Kernels on {device}", _kernel_lines(item, plain["checks"], device))
    yield from section("Packages", _package_lines(plain["packages"]))
    yield from section("Findings", finding_lines(plain["findings"]))


def _program_lines(plain: Mapping[str, Any]) -> list[str]:
    program, torch = plain["program"], plain.get("torch")
    pairs: list[tuple[str, object]] = [
        ("Python", f"{program['python']}, {program['executable']}"),
    ]
    if torch is not None:
        cuda = f", CUDA {torch['cuda']}" if torch["cuda"] else ""
        pairs += [
            ("torch", f"{torch['version']}{cuda}"),
            ("Threads", f"{torch['threads']} of {torch['usable_cores']} usable cores"),
            ("GPUs", ", ".join(torch["gpus"]) or "none that torch can use"),
            ("RESNET_BK_KERNEL", plain["kernels"]["override"] or "not set: the best kernel is taken"),
        ]
    return pairs_as_lines(pairs)


def _kernel_lines(item: Mapping[str, Any], checks: list[Mapping[str, Any]], device: str) -> list[str]:
    chosen = f"{item['chosen']}: {item['reason']}" if item["chosen"] else f"none: {item['reason']}"
    pairs = [("computes", chosen)]
    if not item["present"]:
        return pairs_as_lines([("would compute", chosen), ("but", "torch can use no such device here")])
    for kernel in item["kernels"]:
        own = [c for c in checks if (c["kernel"], c["device"]) == (kernel["name"], device)]
        pairs.append(
            (kernel["name"], _verdict(own) if kernel["usable"] else f"not usable: {kernel['reason']}")
        )
    return pairs_as_lines(pairs)


def _verdict(checks: list[Mapping[str, Any]]) -> str:
    failed = sum(not check["passed"] for check in checks)
    if failed:
        return f"WRONG: {failed} of {len(checks)} checks against dense inverses failed"
    worst = {
        precision: max(check["error"] for check in checks if check["precision"] == precision)
        for precision in ("float32", "float64")
    }
    errors = ", ".join(f"{error:.0e} in {precision}" for precision, error in worst.items())
    return f"checked against dense inverses: largest error {errors}"


def _package_lines(packages: list[Mapping[str, Any]]) -> list[str]:
    return pairs_as_lines(
        (item["name"], item["version"] or f"not installed (for {item['for']})") for item in packages
    )
