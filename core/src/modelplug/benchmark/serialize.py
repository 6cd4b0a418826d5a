"""Writes benchmark reports as JSON, and reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.records import SCHEMA, SCHEMA_VERSION, BenchmarkReport
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMA_FILE", "read_json", "report_from_dict", "report_to_dict", "write_report"]

SCHEMA_FILE = Path(__file__).with_name("results.schema.json")
"""The JSON schema of what `report_to_dict` gives."""


def report_to_dict(report: BenchmarkReport) -> dict[str, Any]:
    """The report as plain data that `json.dumps` accepts.

    Args:
        report: The report.
    """
    plain = attrs.asdict(report, value_serializer=_plain)
    return {"schema": SCHEMA, "version": SCHEMA_VERSION, **plain}


def _plain(_instance: object, _attribute: object, value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def report_from_dict(data: Mapping[str, Any], origin: str = "the data") -> BenchmarkReport:
    """The report that `report_to_dict` wrote.

    Args:
        data: What was read.
        origin: Where it came from, for messages.

    Raises:
        ModelplugError: It is no benchmark result, or one of a later version.
    """
    import cattrs

    if data.get("schema") != SCHEMA:
        raise ModelplugError(
            f"{origin} is no benchmark result",
            why=f"its `schema` is {data.get('schema')!r}, not {SCHEMA!r}",
            advice="`modelplug bench MODEL --output FILE.json` writes one.",
        )
    version = data.get("version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ModelplugError(
            f"{origin} has a layout that this version can't read",
            why=f"its `version` is {version!r}, and this program knows up to {SCHEMA_VERSION}",
            advice="Update modelplug, or measure again with this version.",
        )
    known = {name: value for name, value in data.items() if name not in ("schema", "version")}
    try:
        return cattrs.Converter().structure(known, BenchmarkReport)
    except cattrs.BaseValidationError as error:
        details = "; ".join(cattrs.transform_error(error))
        raise ModelplugError(
            f"{origin} is a damaged benchmark result",
            why=details,
            advice="Measure again, or use a file that was not edited.",
        ) from error


def write_report(report: BenchmarkReport, path: Path) -> None:
    """Write the report as JSON, so that a crash leaves the old file or the new one.

    Raises:
        OSError: It can't be written.
    """
    from modelplug.atomic import write_atomically

    text = json.dumps(report_to_dict(report), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelplugError: There is no such file, it can't be read, or it holds no JSON object.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelplugError(
            f"there is no file {path}",
            why="a benchmark result is read from it",
            advice="`modelplug bench MODEL --output FILE.json` writes one.",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it is nested too deeply"
        raise ModelplugError(
            f"{path} can't be read as JSON", why=why, advice="Name the JSON file of a benchmark."
        ) from error
    if not isinstance(data, dict):
        raise ModelplugError(
            f"{path} is no benchmark result",
            why=f"it holds a {type(data).__name__} and not an object",
            advice="`modelplug bench MODEL --output FILE.json` writes one.",
        )
    return data
