"""What to type to install, upgrade, remove or bring back a plugin's distribution in this environment."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

__all__ = ["install_command", "source_of", "uninstall_command", "upgrade_command"]


def source_of(distribution: str, direct_url: str | None) -> str:
    """Where a distribution was installed from, in the words pip understands; empty if from an index.

    Args:
        distribution: Its name.
        direct_url: The content of its `direct_url.json`; None if it has none.
    """
    try:
        record = json.loads(direct_url or "{}")
    except ValueError:
        return ""
    url = record.get("url") if isinstance(record, dict) else None
    if not isinstance(url, str) or not url:
        return ""
    vcs = _part(record, "vcs_info").get("vcs")
    if isinstance(vcs, str):
        return shlex.quote(f"{distribution} @ {vcs}+{url}")
    if not url.startswith("file:"):
        return shlex.quote(f"{distribution} @ {url}")
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    path = shlex.quote(url2pathname(urlparse(url).path))
    return f"-e {path}" if _part(record, "dir_info").get("editable") else path


def _part(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def install_command(distribution: str, source: str = "", *, prefix: str | None = None) -> str:
    """The command that installs `distribution` where this program runs.

    Args:
        distribution: Its name.
        source: What `source_of` gave; empty for an index.
        prefix: The environment; this interpreter's own if None.
    """
    what = source or shlex.quote(distribution)
    manager = _manager(prefix)
    if manager == "uv":
        flag = "--with-editable" if what.startswith("-e ") else "--with"
        return f"uv tool install modelplug {flag} {what.removeprefix('-e ')}"
    if manager == "pipx":
        return f"pipx inject modelplug {_for_pipx(what)}"
    return f"{_python()} -m pip install {what}"


def upgrade_command(distribution: str, source: str = "", *, prefix: str | None = None) -> str:
    """The command that brings `distribution` up to date where this program runs; see `install_command`."""
    what = source or shlex.quote(distribution)
    manager = _manager(prefix)
    if manager == "uv":
        return "uv tool upgrade modelplug"
    if manager == "pipx":
        return f"pipx inject --force modelplug {_for_pipx(what)}"
    return f"{_python()} -m pip install --upgrade {what}"


def uninstall_command(distribution: str, *, prefix: str | None = None) -> str:
    """The command that removes `distribution` from the environment where this program runs."""
    manager = _manager(prefix)
    if manager == "uv":
        return f"uv tool install --force modelplug   (with the plugins to keep, and without {distribution})"
    if manager == "pipx":
        return f"pipx uninject modelplug {shlex.quote(distribution)}"
    return f"{_python()} -m pip uninstall {shlex.quote(distribution)}"


def _for_pipx(what: str) -> str:
    return f"--editable {what.removeprefix('-e ')}" if what.startswith("-e ") else what


def _manager(prefix: str | None) -> str:
    """The program that owns the environment: `uv`, `pipx` or `pip`.

    uv and pipx keep each program in an environment of its own and rebuild it from their own records, so what
    pip puts there is lost with the next upgrade.
    """
    root = Path(prefix or sys.prefix)
    if (root / "uv-receipt.toml").is_file():
        return "uv"
    return "pipx" if (root / "pipx_metadata.json").is_file() else "pip"


def _python() -> str:
    return shlex.quote(sys.executable or "python")
