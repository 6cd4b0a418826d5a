"""The demo model that comes with this distribution: small, but really trained."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEMO", "demo_directory"]

DEMO = "demo-resnet-bk"
"""The name under which modelplug knows it."""


def demo_directory() -> Path:
    """The directory of the bundled demo model."""
    return Path(__file__).with_name("demo").absolute()
