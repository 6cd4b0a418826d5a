"""What `modelplug doctor` examines: the whole report as plain data, and what is wrong in it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.backends.types import BackendReport
    from modelplug.runtime import Runtime
    from modelplug.system.info import SystemInfo

__all__ = ["Finding", "Report", "examine"]

GIB = 1 << 30
LITTLE_DISK = GIB
LITTLE_MEMORY = GIB


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that a person should know.

    Attributes:
        severity: `problem` keeps models from running, `warning` is wrong but can be lived with, `note` is an
            opportunity.
        about: What it concerns, for example `backend llamacpp`.
        what: What was found, a sentence.
        advice: What to type or change.
    """

    severity: str
    about: str
    what: str
    advice: str = ""


@attrs.define(kw_only=True)
class Report:
    """Everything that was examined, as plain data.

    Attributes:
        sections: Section name -> data that `json.dumps` accepts.
        findings: What a person should know, worst first.
    """

    sections: dict[str, Any] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)

    @property
    def healthy(self) -> bool:
        """Whether models can run."""
        return all(finding.severity != "problem" for finding in self.findings)

    def find(self, severity: str, about: str, what: str, advice: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(severity=severity, about=about, what=what, advice=advice))

    def to_dict(self) -> dict[str, Any]:
        """The report as one mapping, findings last."""
        findings = [attrs.asdict(finding) for finding in self.findings]
        return {**self.sections, "findings": findings, "healthy": self.healthy}


_SEVERITIES = ("problem", "warning", "note")


def examine(runtime: Runtime) -> Report:
    """Examine everything: this program, the machine, plugins, engines, settings, directories.

    Engines are imported, each in a process of its own, which takes seconds.

    Args:
        runtime: What is examined. Its `system` should come from a deep probe.
    """
    report = Report()
    report.sections["modelplug"] = _program()
    report.sections["system"] = _system(runtime.system, report)
    backends = runtime.backends.reports(deep=True)
    report.sections["plugins"] = _plugins(runtime, report)
    report.sections["backends"] = _backends(backends, runtime.system, report)
    report.sections["settings"] = _settings(runtime, backends, report)
    report.sections["directories"] = _directories(runtime, report)
    report.sections["migrations"] = _migrations(runtime, report)
    report.findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return report


def _program() -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "virtual_environment": sys.prefix != sys.base_prefix,
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("MODELPLUG_", "CUDA_", "HIP_", "ROCR_", "GGML_", "LLAMA_"))
        },
    }


def _system(system: SystemInfo, report: Report) -> dict[str, Any]:
    from modelplug.system.report import format_bytes, to_dict

    for outcome in system.probes:
        if outcome.state == "failed":
            report.find(
                "warning",
                f"probe {outcome.name}",
                f"the probe failed: {outcome.detail}",
                "If this machine has such hardware, check its driver; otherwise ignore this.",
            )
    for device in system.devices:
        if device.memory_free is None and device.visible and not device.unified_memory:
            report.find(
                "note",
                f"GPU {device.id}",
                f"the driver does not say how much memory of {device.name} is free, so nothing is known of "
                "what fits before it is tried",
                "Use --gpu-layers to limit what is placed there.",
            )
    if system.memory.available < LITTLE_MEMORY:
        report.find(
            "warning",
            "memory",
            f"only {format_bytes(system.memory.available)} of main memory are available",
            "Close other programs, or raise the control group's limit.",
        )
    return to_dict(system)


def _plugins(runtime: Runtime, report: Report) -> dict[str, Any]:
    plugins = runtime.plugins
    for problem in plugins.problems:
        report.find("warning", "plugins", problem, "modelplug plugins list")
    for missing in plugins.missing:
        report.find(
            "warning",
            f"plugin {missing.name}",
            f"{missing.distribution} {missing.version} was used here before and is not installed any more",
            f"{missing.install}, or `modelplug plugins forget {missing.name}`",
        )
    return {
        "installed": [record.to_dict() for record in plugins.records],
        "missing": [attrs.asdict(missing) for missing in plugins.missing],
    }


def _backends(backends: dict[str, BackendReport], system: SystemInfo, report: Report) -> list[dict[str, Any]]:
    from modelplug.backends.plain import report_to_dict

    usable = [backend for backend in backends.values() if backend.usable]
    if not usable:
        first = next(iter(backends.values()))
        report.find("problem", "backends", "no engine works here, so no model can run", first.install)
    for backend in backends.values():
        about = f"backend {backend.name}"
        if backend.state.value == "broken":
            report.find("warning", about, f"installed but broken: {backend.cause}", backend.install)
        elif backend.state.value == "not-installed" and usable:
            report.find("note", about, f"not installed: {backend.cause}", backend.install)
        elif backend.state.value == "cpu" and system.visible_devices and backend.cause:
            names = ", ".join(device.name for device in system.visible_devices)
            report.find("note", about, f"does not use {names}: {backend.cause}", backend.install)
    return [report_to_dict(backend) for backend in backends.values()]


def _settings(runtime: Runtime, backends: dict[str, BackendReport], report: Report) -> dict[str, Any]:
    from modelplug.config.validation import ConfigValidator, installed_settings_classes

    path = runtime.paths.config_file
    if not path.exists():
        return {"path": str(path), "exists": False, "valid": True, "issues": []}
    validator = ConfigValidator(lambda: installed_settings_classes(runtime.plugins))
    result = validator.validate_config(path)
    for issue in result.issues:
        report.find("warning", "settings", str(issue), "modelplug config edit")
    values = _values(runtime, report)
    preferred = values.get("preferred_backend") if values else None
    if isinstance(preferred, str) and preferred not in {b.name for b in backends.values() if b.usable}:
        known = backends.get(preferred)
        cause = f"{known.state}: {known.cause}" if known else "no plugin brings it"
        report.find(
            "warning",
            "settings",
            f"the preferred backend {preferred} can't be used ({cause})",
            known.install if known else "modelplug config unset preferred_backend",
        )
    return {
        "path": str(path),
        "exists": True,
        "valid": result.valid,
        "issues": [str(issue) for issue in result.issues],
        "values": values,
    }


def _values(runtime: Runtime, report: Report) -> dict[str, Any] | None:
    """The settings in force; None, and a problem, if they keep every command from working."""
    try:
        _ = runtime.config.settings
    except ConfigError as error:
        report.find("problem", "settings", str(error), error.advice)
        return None
    return runtime.config.effective


def _migrations(runtime: Runtime, report: Report) -> dict[str, Any]:
    from modelplug.migration.migrator import Migrator

    migrator = Migrator(runtime)
    homes = [str(path) for path in migrator.homes()]
    cut_off = [record.id for record in migrator.store.unfinished()]
    for name in cut_off:
        report.find("warning", "migrations", f"transaction {name} was cut off", "modelplug migrate recover")
    if homes and not runtime.paths.config_file.exists():
        found = ", ".join(homes)
        report.find(
            "note", "migrations", f"there is an older installation: {found}", "modelplug migrate plan"
        )
    return {"older_installations": homes, "cut_off": cut_off}


def _directories(runtime: Runtime, report: Report) -> dict[str, Any]:
    from modelplug.logs import LOG_NAME
    from modelplug.system.report import format_bytes

    paths = runtime.paths
    folders = {"config": paths.config, "data": paths.data, "cache": paths.cache, "logs": paths.logs}
    found: dict[str, Any] = {name: _directory(path) for name, path in folders.items()}
    locked = [str(folders[name]) for name, item in found.items() if not item["writable"]]
    if locked:
        report.find(
            "warning",
            "directories",
            f"nothing can be written to {', '.join(dict.fromkeys(locked))}, so nothing is remembered there",
            "Make that possible, or set MODELPLUG_HOME to a directory that can be written to.",
        )
    full = [item for item in found.values() if item["writable"] and (item["free_bytes"] or 0) < LITTLE_DISK]
    if full:
        where = ", ".join(dict.fromkeys(item["path"] for item in full))
        free = format_bytes(min(item["free_bytes"] or 0 for item in full))
        report.find(
            "warning", "disk", f"only {free} are free on the disk of {where}", "Free some space there."
        )
    log = paths.logs / LOG_NAME
    found["log"] = {"path": str(log), "bytes": log.stat().st_size if log.is_file() else 0}
    return found


def _directory(path: Path) -> dict[str, Any]:
    # None of them is made before something is written into it: what counts is the one it will be made in.
    existing = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    free = shutil.disk_usage(existing).free if existing.exists() else None
    return {
        "path": str(path),
        "exists": path.is_dir(),
        "writable": _writable(existing),
        "free_bytes": free,
    }


def _writable(folder: Path) -> bool:
    """Whether a directory can be made there, found out by making one: permissions alone do not tell."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".modelplug-doctor-"):
            return True
    except OSError:
        return False
