"""What can be said of the model that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.config.structure import shorten

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["check_model", "look_at"]


def look_at(context: StepContext, path: object) -> ModelInfo | None:
    """What the model at a path is; None if the path is none, or there is no model at it.

    Args:
        context: How to look at a model.
        path: What stands where a path belongs.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    try:
        return context.inspect(path)
    except RuntimeError:  # the home folder of somebody who is not known here
        return None


def check_model(editor: ConfigEditor, context: StepContext) -> None:
    """Warn if the model is missing, or if the preferred backend can't run it."""
    path, preferred = editor.get("model_path"), editor.get("preferred_backend")
    if not isinstance(path, str) or not path:
        return
    model = look_at(context, path)
    if model is None:
        editor.warn(f"model_path: there is no model at {shorten(path)}, or it can't be read", "model_path")
    elif preferred in model.incompatible_backends and preferred not in model.compatible_backends:
        others = ", ".join(model.compatible_backends) or "no backend that is installed here"
        editor.warn(
            f"preferred_backend: {preferred} can't run {shorten(path)} "
            f"({model.incompatible_backends[preferred]}); {others} can",
            "preferred_backend",
        )
