"""A line about the operating system, without starting a process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.system.host import Host

__all__ = ["os_version", "parse_os_release", "python_version"]


def parse_os_release(text: str) -> str:
    """The pretty name in `/etc/os-release`; empty if there is none."""
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and key.strip() == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return ""


def os_version(host: Host) -> str:
    """The operating system's name and version, for people."""
    if host.os == "linux":
        text = host.read("/etc/os-release") or host.read("/usr/lib/os-release") or ""
        kernel = f"Linux {os.uname().release}" if hasattr(os, "uname") else "Linux"
        name = parse_os_release(text)
        return f"{name} ({kernel})" if name else kernel
    import platform

    if host.os == "darwin":
        return f"macOS {platform.mac_ver()[0]}".strip()
    if host.os == "windows":
        return f"Windows {platform.version()}"
    return f"{platform.system()} {platform.release()}"


def python_version() -> str:
    """The running interpreter's version, for example `3.11.7`."""
    return ".".join(str(part) for part in sys.version_info[:3])
