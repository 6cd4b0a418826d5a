"""What the older program noted besides configurations, when such a file is given by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.layouts import MODELPLUG, NAME, SIDE_FILE

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["SideFile"]


class SideFile(Migration):
    """Notes on models and runs are carried over with the folder they belong to.

    `model_performance_cache.json` and `MODEL.meta.json` hold what the program knew of models and how fast
    they ran. modelplug keeps that in its history, so that the file itself stays as it is; migrating the
    folder it is in brings its content over. Reports that were exported hold a snapshot of that.

    There is no way back, because nothing is changed.
    """

    family = NAME
    kind = Kind.CONFIG
    source = SIDE_FILE
    target = MODELPLUG

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Say how the content is carried over."""
        folder = context.path.parent
        home = folder.parent if folder.name in ("models", "cache") else folder
        artifact.todo(
            "this is no configuration: its models and runs go into the history when the folder it belongs to "
            f"is migrated as a whole (`modelplug migrate plan --kind home {home}`)"
        )
