"""What to type to install, upgrade or bring back a plugin's distribution in this environment."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["install_command", "source_of", "upgrade_command"]


def source_of(direct_url: str | None) -> dict[str, Any]:
    """Where a distribution was installed from, out of its `direct_url.json`; empty if from an index.

    Returns:
        `{"url": ..., "editable": ...}` for a directory or an archive, `{"url": "git+..."}` for a repository.
    """
    try:
        record = json.loads(direct_url or "{}")
    except ValueError:
        return {}
    url = record.get("url") if isinstance(record, dict) else None
    if not isinstance(url, str) or not url:
        return {}
    vcs = record.get("vcs_info")
    if isinstance(vcs, dict) and isinstance(vcs.get("vcs"), str):
        return {"url": f"{vcs['vcs']}+{url}"}
    directory = record.get("dir_info")
    return {"url": url, "editable": bool(isinstance(directory, dict) and directory.get("editable"))}


def install_command(
    distribution: str, source: Mapping[str, Any] | None = None, *, prefix: str | None = None
) -> str:
    """The command that installs `distribution` where this program runs.

    Args:
        distribution: Its name.
        source: What `source_of` gave when it was last seen.
        prefix: The environment; this interpreter's own if None.
    """
    what = _requirement(distribution, source or {})
    root = Path(prefix or sys.prefix)
    # uv and pipx keep each program in an environment of its own, and rebuild it from their own records: what
    # pip puts there is lost with the next upgrade.
    if (root / "uv-receipt.toml").is_file():
        return f"uv tool install modelplug --with {what}"
    if (root / "pipx_metadata.json").is_file():
        return f"pipx inject modelplug {what}"
    return f"{_python()} -m pip install {what}"


def upgrade_command(distribution: str, *, prefix: str | None = None) -> str:
    """The command that brings `distribution` up to date where this program runs."""
    root = Path(prefix or sys.prefix)
    if (root / "uv-receipt.toml").is_file():
        return "uv tool upgrade modelplug"
    if (root / "pipx_metadata.json").is_file():
        return f"pipx inject --force modelplug {shlex.quote(distribution)}"
    return f"{_python()} -m pip install --upgrade {shlex.quote(distribution)}"


def uninstall_command(distribution: str) -> str:
    """The command that removes `distribution` from this environment."""
    return f"{_python()} -m pip uninstall {shlex.quote(distribution)}"


def _requirement(distribution: str, source: Mapping[str, Any]) -> str:
    url = source.get("url")
    if not isinstance(url, str) or not url:
        return shlex.quote(distribution)
    if url.startswith("file:"):
        from urllib.parse import urlparse
        from urllib.request import url2pathname

        path = shlex.quote(url2pathname(urlparse(url).path))
        return f"-e {path}" if source.get("editable") else path
    return shlex.quote(f"{distribution} @ {url}")


def _python() -> str:
    return shlex.quote(sys.executable or "python")
