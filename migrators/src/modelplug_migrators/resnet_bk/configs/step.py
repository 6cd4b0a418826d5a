"""What the steps of configurations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.documents import TreeError
from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.resnet_bk.configs.damage import refuse_damage
from modelplug_migrators.resnet_bk.configs.joining import join_names
from modelplug_migrators.resnet_bk.configs.mark import mark
from modelplug_migrators.resnet_bk.configs.places import root_of
from modelplug_migrators.resnet_bk.versions import NAME

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["ConfigStep"]


class ConfigStep(Migration):
    """A step between two versions of configurations.

    A file that can't be edited safely is refused as a whole.
    """

    family = NAME
    kind = Kind.CONFIG

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Bring a configuration to the target version."""
        if not refuse_damage(artifact):
            return
        root = root_of(artifact.value)
        try:
            self.change(artifact, root, context)
            mark(artifact, root, self.target)
        except TreeError as error:
            _refuse(artifact, error)

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Bring a configuration back to the source version."""
        if not refuse_damage(artifact):
            return
        root = root_of(artifact.value)
        try:
            self.change_back(artifact, root, context)
            mark(artifact, root, self.source)
        except TreeError as error:
            _refuse(artifact, error)

    def change(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:  # noqa: ARG002
        """Do what this step does: join the names that the target version has one name for, and more.

        Args:
            artifact: The configuration.
            root: Where in the file it begins.
            context: What the step may know besides.
        """
        join_names(artifact, root, self.target)

    def change_back(self, artifact: ConfigEditor, root: KeyPath, context: StepContext) -> None:
        """Undo it; what the source version can't say is an error of the file."""


def _refuse(artifact: ConfigEditor, error: TreeError) -> None:
    """Say why a file can't be edited: mostly an anchor, where a change would show in a second place."""
    artifact.error(
        f"{error.reason}, and a migration has to change it",
        error.path,
        advice="Write out what the anchors stand for, then plan again.",
    )
