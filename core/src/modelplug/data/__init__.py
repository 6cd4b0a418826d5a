"""The demo model that comes with modelplug: small, but really trained."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEMO", "DEMO_MODEL", "demo_model_path"]

DEMO = "demo"
"""The name of the demo model. A file of that name is reached as `./demo`."""

# Engines need a file with a path, so an installation inside an archive could not serve them anyhow, and
# `importlib.resources` would cost 8 ms of imports.
DEMO_MODEL = Path(__file__).with_name("demo.gguf")


def demo_model_path() -> Path:
    """The path of the bundled demo model, a GGUF file with Q8_0 weights.

    Raises:
        ModelNotFoundError: This installation lacks the file.
    """
    if DEMO_MODEL.is_file():
        return DEMO_MODEL
    from modelplug.errors import ModelNotFoundError

    raise ModelNotFoundError(
        "the demo model is missing from this installation of modelplug",
        path=DEMO_MODEL,
        why=f"there is no file {DEMO_MODEL}",
        advice="Install modelplug again: `pip install --force-reinstall ./core` in a checkout.",
    )
