"""From `BackendConfigSet` 1.0.0 to 1.1.0, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.carrying import make_room, put_first
from modelplug_migrators.gguf_loader.layouts import BACKEND_SET_1_0, BACKEND_SET_1_1, NAME

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["BackendSet10To11"]


class BackendSet10To11(Migration):
    """`backends` becomes `backend_configs`, and what concerns all of them becomes `preferences`.

    Each entry of `backend_configs` gets a `name`, which 1.1.0 demands. `preferred_backend` and
    `fallback_enabled` become `preferences.preferred_backend` and `preferences.auto_fallback_enabled`;
    `fallback_order` becomes `custom_fallback_order`. Everything else stays where it is.
    """

    family = NAME
    kind = Kind.CONFIG
    source = BACKEND_SET_1_0
    target = BACKEND_SET_1_1
    renames = {  # noqa: RUF012  a ClassVar by the base's annotation
        ("backends",): ("backend_configs",),
        ("fallback_order",): ("custom_fallback_order",),
        ("preferred_backend",): ("preferences", "preferred_backend"),
        ("fallback_enabled",): ("preferences", "auto_fallback_enabled"),
    }
    breaking = ("An entry without `name` can't be read any more.",)
    adds = ("`preferences`, `hardware_overrides`, and `custom_args` for each backend.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:  # noqa: ARG002  not needed
        """Rename, and give each entry its name."""
        make_room(artifact, ("preferences",))
        self._move(artifact, backward=False)
        for name in artifact.names("backend_configs"):
            entry = ("backend_configs", name)
            if artifact.is_mapping(entry) and not artifact.has((*entry, "name")):
                artifact.add((*entry, "name"), name, first=True)
        put_first(artifact, ("version",), "1.1.0")

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:  # noqa: ARG002  not needed
        """Rename back, and take the names out that the entries have anyway."""
        for name in artifact.names("backend_configs"):
            path = ("backend_configs", name, "name")
            if artifact.get(path) == name:
                artifact.drop(path, why="the entry's own name says it")
        self._move(artifact, backward=True)
        artifact.prune("preferences")
        put_first(artifact, ("version",), "1.0.0")

    def _move(self, artifact: ConfigEditor, *, backward: bool) -> None:
        """Rename what is there, except where something else has the new name."""
        for old, new in self.renames.items():
            start, end = (new, old) if backward else (old, new)
            if artifact.has(start) and not artifact.has(end):
                artifact.move(start, end)
