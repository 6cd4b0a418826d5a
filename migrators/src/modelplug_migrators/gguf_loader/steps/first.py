"""From the first flat configuration of the application to the multi-backend configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.layouts import FIRST, MULTI_BACKEND, NAME
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["FirstToMultiBackend"]


class FirstToMultiBackend(Migration):
    """A backend's name, layers and context move into the section of that backend.

    `backend` or `backend_preference` becomes `preferred_backend`; if both name one, `backend` counts.
    `gpu_layers` and `context_size` go to the section of that backend, and to llama-cpp-python's if none is
    named, as the guide to the universal loader has it. `auto` names none. `theme`, `model_directory` and
    `addon_settings` stay as they are.

    There is no way back: `backend` and `backend_preference` become one key. Rolling a migration back restores
    the file as it was.
    """

    family = NAME
    kind = Kind.CONFIG
    source = FIRST
    target = MULTI_BACKEND
    breaking = ("`gpu_layers` and `context_size` count for one backend, and no longer for all.",)
    adds = ("`backends` has a section for each backend.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry the backend and its settings."""
        bring_to_1(artifact, context, by_default="llamacpp")
