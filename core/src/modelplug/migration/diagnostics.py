"""The report of everything that bears on migrations, without secrets and home paths."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.logs import MIGRATION_LOG_NAME
from modelplug.migration.account import counted
from modelplug.migration.migrator import Migrator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug.paths import Paths
    from modelplug.runtime import Runtime

__all__ = ["DiagnosticReport", "MigrationDiagnostics", "report_file"]

LOG_LINES = 20


def report_file(paths: Paths) -> Path:
    """Where the report is kept."""
    return paths.data / "migrations" / "report.txt"


@attrs.frozen(kw_only=True)
class DiagnosticReport:
    """What was found; prints as text.

    Attributes:
        data: Everything, as plain data, without secrets and home paths.
    """

    data: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join(_lines(self.data))


class MigrationDiagnostics:
    """Examines what bears on migrations.

    Args:
        runtime: Directories and plugins; None makes a runtime of its own.

    Example:
        >>> print(MigrationDiagnostics().generate_report())
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime

            runtime = Runtime()
        self._runtime = runtime
        self._migrator = Migrator(runtime)

    def generate_report(self) -> DiagnosticReport:
        """Everything that bears on migrations: this program, its plugins, what was done, what is open."""
        from modelplug.system.redact import redact

        data = {
            "modelplug": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "plugins": self._plugins(),
            "problems": list(self._runtime.plugins.problems),
            "families": [self._family(family.name) for family in self._migrator.graph.families],
            "older_installations": [str(path) for path in self._migrator.homes()],
            "settings": self._settings(),
            "transactions": [self._transaction(record) for record in self._migrator.history()],
            "log": list(self._log()),
        }
        safe = redact(data)
        assert isinstance(safe, dict)
        return DiagnosticReport(data=safe)

    def _plugins(self) -> list[dict[str, str]]:
        self._runtime.plugins.load_all()
        return [
            {
                "name": record.name,
                "distribution": f"{record.distribution} {record.version}",
                "state": record.state.value,
            }
            for record in self._runtime.plugins.records
        ]

    def _family(self, name: str) -> dict[str, Any]:
        graph = self._migrator.graph
        family = graph.family(name)
        return {
            "name": name,
            "versions": [entry.name for entry in family.versions],
            "steps": [f"{step.kind.value} {step.source} -> {step.target}" for step in graph.steps(name)],
        }

    def _settings(self) -> dict[str, Any]:
        from modelplug.config.validation import ConfigValidator, installed_settings_classes

        path = self._runtime.paths.config_file
        if not path.exists():
            return {"path": str(path), "exists": False}
        classes = installed_settings_classes(self._runtime.plugins)
        result = ConfigValidator(classes).validate_config(path)
        return {
            "path": str(path),
            "exists": True,
            "valid": result.valid,
            "issues": [str(issue) for issue in result.issues],
        }

    def _transaction(self, record: Any) -> dict[str, Any]:
        report = self._migrator.store.verify(record.id) if record.state != "damaged" else None
        return {
            "id": record.id,
            "state": record.state,
            "title": record.meta.get("title", "") or (f"rollback of {record.rolls_back}"),
            "files": [str(path) for path in record.files],
            "backup": "damaged" if report is None or report.damage else "intact",
            "problem": record.problem,
        }

    def _log(self) -> Iterator[str]:
        path = self._runtime.paths.logs / MIGRATION_LOG_NAME
        if not path.exists():
            return
        for line in path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            yield f"{entry.get('timestamp', '')} {entry.get('event', '')} {entry.get('path', '')}".rstrip()


def _lines(data: dict[str, Any]) -> Iterator[str]:
    yield f"modelplug {data['modelplug']} migration report"
    yield f"Python {data['python']} on {data['system']}"
    yield from _section(
        "Plugins", (f"{p['name']}: {p['distribution']}, {p['state']}" for p in data["plugins"])
    )
    yield from _section("Problems", data["problems"])
    yield from _section(
        "Families", (f"{f['name']}: {', '.join(dict.fromkeys(f['versions']))}" for f in data["families"])
    )
    yield from _section("Older installations", data["older_installations"])
    yield from _section("Settings", _settings_lines(data["settings"]))
    yield from _section("Migrations", (_transaction_line(t) for t in data["transactions"]))
    yield from _section("End of the log", data["log"])


def _section(title: str, lines: Any) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in list(lines) or ["none"])


def _settings_lines(settings: dict[str, Any]) -> Iterator[str]:
    if not settings["exists"]:
        yield f"{settings['path']}: not there, so the defaults are used"
        return
    yield f"{settings['path']}: {'valid' if settings['valid'] else 'faulty'}"
    yield from settings["issues"]


def _transaction_line(entry: dict[str, Any]) -> str:
    problem = f" ({entry['problem']})" if entry["problem"] else ""
    backup = f"{counted(len(entry['files']), 'file')}, backup {entry['backup']}"
    return f"{entry['id']}: {entry['state']}, {entry['title']}, {backup}{problem}"
