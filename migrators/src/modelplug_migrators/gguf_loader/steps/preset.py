"""From a named configuration to the multi-backend configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.carrying import shelve
from modelplug_migrators.gguf_loader.layouts import MULTI_BACKEND, NAME, PRESET
from modelplug_migrators.gguf_loader.translate import bring_to_1

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["PresetToMultiBackend"]


class PresetToMultiBackend(Migration):
    """What a preset holds in `configuration` becomes a configuration of its own.

    The keys inside `configuration` move to the top and are translated as those of any older layout are. The
    preset's name, description and date are kept under `extras.preset`.

    There is no way back: nothing reads presets any more.
    """

    family = NAME
    kind = Kind.CONFIG
    source = PRESET
    target = MULTI_BACKEND
    breaking = ("Presets can't be switched to by name; a file can be given to modelplug as its settings.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Unpack the configuration, and translate it."""
        for name in artifact.names():
            if name not in ("configuration", *artifact.extras):
                shelve(artifact, (name,), "it describes the preset", under=("preset",), quiet=True)
        for name in artifact.names("configuration"):
            if artifact.has(name):
                shelve(artifact, ("configuration", name), "its name is taken", under=("preset",), warn=True)
            else:
                artifact.move(("configuration", name), name)
        artifact.prune("configuration")
        if artifact.has("configuration"):
            shelve(artifact, ("configuration",), "there is nothing in it to translate", under=("preset",))
        bring_to_1(artifact, context)
