"""From `BackendConfigSet` 1.1.0 to the multi-backend configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.layouts import BACKEND_SET_1_1, MULTI_BACKEND, NAME
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["BackendSet11ToMultiBackend"]


class BackendSet11ToMultiBackend(Migration):
    """`backend_configs` becomes `backends`, and the preferences go to the top.

    `preferences.preferred_backend` becomes `preferred_backend`, `preferences.auto_fallback_enabled` becomes
    `fallback_enabled`, `custom_fallback_order` becomes `fallback_order`, and `preferences.gpu_preference`
    becomes `gpu_enabled`, where `auto` says nothing. In each section, `name` goes because the section has it
    as its own; -1 for `gpu_layers` and `threads` left the choice to the program, which null says now. The
    other preferences, `hardware_overrides`, `last_modified` and `custom_args` stay as they are.

    There is no way back: no released program reads this layout.
    """

    family = NAME
    kind = Kind.CONFIG
    source = BACKEND_SET_1_1
    target = MULTI_BACKEND
    breaking = (
        "`gpu_layers` -1 meant that the program chooses; in the new layout it means all layers.",
        "`version` is gone: the new layout has none.",
    )

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry sections, order and preferences."""
        bring_to_1(artifact, context)
