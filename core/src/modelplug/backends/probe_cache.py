"""Remembers what deep probes found out, so that asking again costs nothing until something changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.probe_fields import apply_fields
from modelplug.backends.types import BackendReport, BackendState

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.runtime import Runtime

__all__ = ["is_known", "recall", "remember"]

# A verdict of "broken" is asked for again after a day: what was missing may have been installed since, in a
# way that no version number shows.
BROKEN_FOR = 86_400.0


def _file(report: BackendReport, runtime: Runtime) -> Path:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", report.name)
    return runtime.paths.cache / "deep-probes" / f"{name}.json"


def _key(report: BackendReport, runtime: Runtime) -> str:
    """A digest of everything the answer depends on: plugin, engine, interpreter, processor, devices."""
    system = runtime.system
    facts = [
        report.distribution,
        report.plugin,
        report.deep_probe,
        report.version,
        report.state.value,
        sys.executable,
        sys.version,
        system.cpu.model,
        [[device.id, device.name, device.driver, device.visible] for device in system.devices],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def remember(report: BackendReport, fields: dict[str, Any], runtime: Runtime) -> bool:
    """Keep the answer of a deep probe; says whether that was possible.

    Args:
        report: What the cheap detection said.
        fields: What the probe answered.
        runtime: Its cache directory is used.
    """
    path = _file(report, runtime)
    content = {"key": _key(report, runtime), "time": time.time(), "fields": fields}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        os.replace(temporary, path)  # noqa: PTH105  one call that is atomic everywhere
    except OSError:
        # A read-only or full disk: the next run probes again, and `doctor` reports the directory.
        return False
    return True


def is_known(report: BackendReport, runtime: Runtime) -> bool:
    """Whether a deep probe has nothing to add: there is none, or its answer is remembered and holds."""
    return not report.deep_probe or _read(report, runtime) is not None


def recall(report: BackendReport, runtime: Runtime) -> BackendReport:
    """The report with what an earlier deep probe found out, if nothing has changed since.

    Args:
        report: What the cheap detection said.
        runtime: Its cache directory is used.
    """
    if not report.deep_probe or report.state is BackendState.NOT_INSTALLED:
        return report
    return _read(report, runtime) or report


def _read(report: BackendReport, runtime: Runtime) -> BackendReport | None:
    try:
        content = json.loads(_file(report, runtime).read_text(encoding="utf-8"))
        if content["key"] != _key(report, runtime):
            return None
        age = time.time() - float(content["time"])
        known = apply_fields(report, content["fields"])
    except (OSError, ValueError, TypeError, KeyError):
        # Never probed, or a file of another version or a damaged one: the cheap answer stands.
        return None
    if known.state is BackendState.BROKEN:
        if not 0 <= age < BROKEN_FOR:
            return None
        cause = f"{known.cause} (found {_ago(age)}; `modelplug backends --deep` looks again)"
        return attrs.evolve(known, cause=cause)
    return known


def _ago(seconds: float) -> str:
    if seconds < 90:
        return "a moment ago"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes ago"
    return f"{seconds / 3600:.0f} hours ago"
