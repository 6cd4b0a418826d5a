"""From the keys that the preferences window sets to the multi-backend configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.layouts import INTERFACE, MULTI_BACKEND, NAME
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["InterfaceToMultiBackend"]


class InterfaceToMultiBackend(Migration):
    """Keys of the preferences window, dots and all, move into the section of a backend.

    `backend.current` becomes `preferred_backend`; `auto` names none. `backend.gpu_layers`,
    `backend.context_size`, `backend.batch_size` and `thread_count` or `cpu_threads` go to the section of the
    backend; `gpu_layers` does where `backend.gpu_layers` is not there. `processing_unit` and
    `backend.hardware_preference` become `gpu_enabled`. What is in `model_parameters` becomes
    `generation.NAME`, `stop_sequences` becomes `generation.stop`. The dots in these names are part of the
    name, as the window wrote them. All other keys stay as they are.

    There is no way back: the program never read these keys from a file.
    """

    family = NAME
    kind = Kind.CONFIG
    source = INTERFACE
    target = MULTI_BACKEND
    breaking = ("Names with dots are gone: the new layout has objects within objects.",)
    adds = ("`backends` has a section for each backend.", "`generation` holds the model's parameters.")

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry what the window set."""
        bring_to_1(artifact, context)
