"""From a flat file of llama-cpp-python keywords to the multi-backend configuration, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.flatten import flatten
from modelplug_migrators.gguf_loader.layouts import FLAT, MULTI_BACKEND, NAME
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["FlatToMultiBackend"]


class FlatToMultiBackend(Migration):
    """Keywords of llama-cpp-python move into the section of one backend.

    `n_gpu_layers`, `n_ctx`, `n_batch`, `n_threads`, `n_ubatch`, `flash_attn`, and `type_k` with `type_v`,
    become `gpu_layers`, `context_size`, `batch_size`, `threads`, `ubatch_size`, `flash_attention` and
    `kv_type` of `backends.NAME`; `use_mmap` and `use_mlock` keep their names there. `n_gpu_layers` -1 still
    means all layers. `n_ctx` 0, `n_threads` 0 and `seed` -1 left the choice to the program, which null says.

    `temperature`, `top_p`, `top_k`, `min_p`, `repeat_penalty`, `max_tokens`, `stop` and `seed` become
    `generation.NAME`. `model_path` stays where it is. Every other keyword of `Llama(...)`, and whatever the
    backend has no setting for, is kept under `extras`, each with the reason.

    The backend is ctransformers, as in the guide to the multi-backend version, unless the file names another
    one, the model it names can only be run by llama.cpp, or the option `backend` says otherwise.

    Numbers that stand as text, or as 35.0, are read as numbers; true where a number belongs is not, and is
    kept under `extras` with a warning.

    The way back works for a file with settings for one backend; for one of several, the option `backend`
    says which, and the others are kept under `extras`.
    """

    family = NAME
    kind = Kind.CONFIG
    source = FLAT
    target = MULTI_BACKEND
    breaking = (
        "llama-cpp-python does not read the new file: its keywords are in the section of a backend.",
        "`n_threads_batch`, `main_gpu`, `tensor_split`, `rope_*`, `yarn_*`, `lora_*`: no effect any more.",
    )
    adds = (
        "`preferred_backend` says which backend comes first.",
        "`backends` has a section for each backend.",
    )

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry every keyword to its place."""
        bring_to_1(artifact, context, always_prefer=True)

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Carry one backend's settings back to keywords."""
        flatten(artifact, context)
