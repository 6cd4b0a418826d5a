"""The demo model that comes with this distribution: small, but really trained."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEMO", "demo_directory"]

DEMO = "demo-resnet-bk"
"""The name under which modelplug knows it."""

_DIRECTORY = Path(__file__).with_name("demo")


def demo_directory() -> Path:
    """The directory of the bundled demo model.

    Raises:
        ModelNotFoundError: This installation lacks it.
    """
    if (_DIRECTORY / "config.json").is_file():
        return _DIRECTORY
    from modelplug.errors import ModelNotFoundError

    raise ModelNotFoundError(
        "the demo model is missing from this installation of modelplug-resnet-bk",
        path=_DIRECTORY,
        why=f"there is no folder {_DIRECTORY}",
        advice="Install modelplug-resnet-bk again.",
    )
