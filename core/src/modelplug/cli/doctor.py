"""`modelplug doctor`: one report on this machine and installation, fit to be attached to a bug."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.rendering import pairs_as_lines
from modelplug.errors import EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelplug.cli.context import App

__all__ = ["command", "finding_lines", "section"]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file."
)
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, app: App, /, *, as_json: bool, output: Path | None) -> None:
    """Examine this machine, the plugins, the engines and the settings, and say what is wrong.

    The report can be attached to a bug: secrets, home directories and the user's name are taken out. It ends
    with findings, each with what to type. The exit status is 1 if something keeps models from running.
    """
    from modelplug.cli.doctor_report import examine
    from modelplug.system import probe
    from modelplug.system.redact import redact

    runtime = app.runtime
    if not as_json or output is not None:
        app.note("examining this machine; engines are started one by one, which takes a few seconds")
    # Written into the cached property: whoever asks this runtime for its system gets the thorough answer.
    runtime.system = probe(deep=True)
    report = examine(runtime)
    plain: dict[str, Any] = redact(report.to_dict())
    text = json.dumps(plain, indent=2, ensure_ascii=False) if as_json else "\n".join(_as_text(plain))
    if output is None:
        click.echo(text)
    else:
        _write(output, text)
        click.echo(f"the report is in {output}")
    if not report.healthy:
        ctx.exit(EXIT_FAILED)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the report can't be written to {output}",
            why=error.strerror or str(error),
            advice="Give --output a file in a directory that exists and can be written to.",
        ) from error


def _as_text(plain: Mapping[str, Any]) -> Iterator[str]:
    program = plain["modelplug"]
    yield f"modelplug {program['version']} doctor"
    yield from section("Program", _program_lines(program))
    yield from section("System", _system_lines(plain["system"]))
    yield from section("Plugins", _plugin_lines(plain["plugins"]))
    yield from section("Backends", _backend_lines(plain["backends"]))
    yield from section("Settings", _settings_lines(plain["settings"]))
    yield from section("Directories", _directory_lines(plain["directories"]))
    yield from section("Findings", finding_lines(plain["findings"]))


def section(title: str, lines: list[str]) -> Iterator[str]:
    """Give the lines of a section, below its title."""
    yield ""
    yield title
    yield from (f"  {line}" for line in lines)


def _program_lines(program: Mapping[str, Any]) -> list[str]:
    kind = "virtual environment" if program["virtual_environment"] else "no virtual environment"
    pairs = [
        ("Python", f"{program['implementation']} {program['python']}, {kind}"),
        ("Executable", program["executable"]),
        *program["environment"].items(),
    ]
    return pairs_as_lines(pairs)


def _system_lines(system: Mapping[str, Any]) -> list[str]:
    from modelplug.system.report import describe, from_dict

    return pairs_as_lines(describe(from_dict(system)))


def _plugin_lines(plugins: Mapping[str, Any]) -> list[str]:
    lines = pairs_as_lines(
        (item["name"], f"{item['distribution']} {item['version']}: {item['state']}" + _because(item["cause"]))
        for item in plugins["installed"]
    )
    lines += [
        f"{item['name']}  missing ({item['distribution']} {item['version']})" for item in plugins["missing"]
    ]
    return lines or ["none installed"]


def _because(cause: str) -> str:
    return f" ({cause})" if cause else ""


def _backend_lines(backends: list[Mapping[str, Any]]) -> list[str]:
    from modelplug.cli.backends import MEANINGS

    lines = []
    for item in backends:
        where = f" on {', '.join(item['devices'])}" if item["devices"] else ""
        engine = " ".join(part for part in (item["engine"], item["version"]) if part)
        lines.append((item["name"], f"{MEANINGS[item['state']]}{where}: {engine}{_because(item['cause'])}"))
    return pairs_as_lines(lines)


def _settings_lines(settings: Mapping[str, Any]) -> list[str]:
    if not settings["exists"]:
        return [f"{settings['path']}: not there, so the defaults are used"]
    return [f"{settings['path']}: {'valid' if settings['valid'] else 'faulty'}", *settings["issues"]]


def _directory_lines(directories: Mapping[str, Any]) -> list[str]:
    from modelplug.system.report import format_bytes

    pairs = []
    for name, item in directories.items():
        if name == "log":
            pairs.append((name, f"{item['path']} ({format_bytes(item['bytes'])})"))
            continue
        free = "unknown space" if item["free_bytes"] is None else format_bytes(item["free_bytes"])
        state = "writable" if item["writable"] else "NOT writable"
        there = "" if item["exists"] else ", not made yet"
        pairs.append((name, f"{item['path']} ({free} free, {state}{there})"))
    return pairs_as_lines(pairs)


def finding_lines(findings: list[Mapping[str, Any]]) -> list[str]:
    """Give what was found and what to type, as lines."""
    if not findings:
        return ["nothing is wrong"]
    lines = []
    for item in findings:
        lines.append(f"{item['severity']}: {item['about']}: {item['what']}")
        lines += [
            f"  try: {line}" if i == 0 else f"       {line}"
            for i, line in enumerate(item["advice"].splitlines())
        ]
    return lines
