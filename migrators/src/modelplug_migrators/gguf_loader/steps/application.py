"""From the settings of the application to the multi-backend configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.layouts import APPLICATION, MULTI_BACKEND, NAME
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["ApplicationToMultiBackend"]


class ApplicationToMultiBackend(Migration):
    """Settings of the application give what they say of generation and of the GPU.

    `ai_settings.temperature`, `.max_tokens`, `.top_p`, `.top_k` and `.repeat_penalty` become
    `generation.NAME`, and so do `default_temperature` and `default_max_tokens`; where the two differ,
    `ai_settings` counts and the other is kept under `extras`. `use_hardware_acceleration` becomes
    `gpu_enabled`, `default_model_dir` becomes `model_directory`. The window, the theme, the list of recent
    models and all other keys stay as they are.

    The size of the context is not derived from `max_tokens`, as an older tool did: that would be a guess.

    There is no way back: two keys of the old layout become one here, and which was meant can't be told.
    Rolling a migration back restores the file as it was.
    """

    family = NAME
    kind = Kind.CONFIG
    source = APPLICATION
    target = MULTI_BACKEND
    breaking = ("`version` is gone: it was the version of the application's settings.",)
    adds = ("`generation` holds what a request takes unless it says otherwise.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry what the new layout knows."""
        bring_to_1(artifact, context)
