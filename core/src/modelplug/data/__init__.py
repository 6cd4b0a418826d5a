"""The demo model that comes with modelplug: small, but really trained."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["demo_model_path"]


def demo_model_path() -> Path:
    """The path of the bundled demo model, a GGUF file with Q8_0 weights.

    Raises:
        ModelNotFoundError: The installation lacks the file, or runs from an archive.
    """
    resource = files(__name__) / "demo.gguf"
    if isinstance(resource, Path) and resource.is_file():
        return resource
    from modelplug.errors import ModelNotFoundError

    raise ModelNotFoundError(
        "the demo model is missing from this installation of modelplug",
        path=Path(str(resource)),
        why=f"there is no file {resource}",
        advice="Install modelplug again: `pip install --force-reinstall modelplug` or, from a checkout, "
        "`pip install ./core`.",
    )
