"""From the multi-backend configuration to that of the universal loader, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.carrying import make_room, shelve
from modelplug_migrators.gguf_loader.engines import NAMES_IN_1, NAMES_IN_2
from modelplug_migrators.gguf_loader.layouts import MULTI_BACKEND, NAME, UNIVERSAL
from modelplug_migrators.gguf_loader.renaming import called, rename_order, rename_sections

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath, StepContext

__all__ = ["MultiBackendToUniversal"]

_DEFAULT = ("backends", "default")
_PREFERRED = ("preferred_backend",)


class MultiBackendToUniversal(Migration):
    """The preferred backend moves to `backends.default`, theme and folders into objects of their own.

    `preferred_backend` becomes `backends.default`, which is `auto` if there is none. `theme` becomes
    `ui.theme`, `model_directory` becomes `paths.model_directory`, `addon_settings` becomes `addons`.
    llama-cpp-python is spelled `llama_cpp_python`, as a section and in `fallback_order`. Everything else
    stays where it is.

    The way back loses nothing: it does the same in the other direction.
    """

    family = NAME
    kind = Kind.CONFIG
    source = MULTI_BACKEND
    target = UNIVERSAL
    renames = {  # noqa: RUF012  a ClassVar by the base's annotation
        ("theme",): ("ui", "theme"),
        ("model_directory",): ("paths", "model_directory"),
        ("addon_settings",): ("addons",),
    }
    breaking = ("Not everything in `backends` is a section any more: `backends.default` is a name.",)
    adds = ("`supported_formats` of a backend, and `backend_priorities` by format.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:  # noqa: ARG002  not needed
        """Move the keys to their new places."""
        make_room(artifact, ("backends",))
        rename_sections(artifact, NAMES_IN_2)
        rename_order(artifact, ("fallback_order",), NAMES_IN_2)
        if artifact.has(_DEFAULT):
            shelve(artifact, _DEFAULT, "the preferred backend has this place", under=("backends",), warn=True)
        preferred = artifact.get(_PREFERRED)
        if preferred is None or (isinstance(preferred, str) and preferred):
            if artifact.has(_PREFERRED):
                artifact.move(_PREFERRED, _DEFAULT)
            artifact.set(_DEFAULT, called(preferred or "auto", NAMES_IN_2))
        else:
            shelve(artifact, _PREFERRED, "it is no name of a backend", warn=True)
            artifact.set(_DEFAULT, "auto")
        for old, new in self.renames.items():
            self._move(artifact, old, new)

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:  # noqa: ARG002  not needed
        """Move the keys back."""
        make_room(artifact, ("backends",))
        default = artifact.get(_DEFAULT)
        if default == "auto":
            artifact.drop(_DEFAULT, why="leaving preferred_backend out says the same")
        elif artifact.has(_DEFAULT) and not artifact.has(_PREFERRED):
            artifact.move(_DEFAULT, _PREFERRED)
            artifact.set(_PREFERRED, called(default, NAMES_IN_1))
        rename_sections(artifact, NAMES_IN_1)
        rename_order(artifact, ("fallback_order",), NAMES_IN_1)
        for old, new in self.renames.items():
            self._move(artifact, new, old)
        for emptied in ("ui", "paths"):
            artifact.prune(emptied)
        if not artifact.has("backends"):
            artifact.add("backends", {})

    def _move(self, artifact: ConfigEditor, start: KeyPath, end: KeyPath) -> None:
        """Move an entry, unless its new place is taken."""
        if artifact.has(start) and not artifact.has(end):
            make_room(artifact, end[:-1])
            artifact.move(start, end)
