"""From the universal loader's configuration to modelplug's settings, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader.carrying import free_extras, is_new, make_room, put_first, shelve
from modelplug_migrators.gguf_loader.choice import check_option
from modelplug_migrators.gguf_loader.engines import ENGINES, NAMES_IN_2
from modelplug_migrators.gguf_loader.layouts import MODELPLUG, NAME, UNIVERSAL
from modelplug_migrators.gguf_loader.leftovers import SCHEMA, check_objects, shelve_leftovers
from modelplug_migrators.gguf_loader.models import check_model
from modelplug_migrators.gguf_loader.orders import order_by_format, order_by_priority, priorities_by_format
from modelplug_migrators.gguf_loader.renaming import called, rename_order, rename_sections
from modelplug_migrators.gguf_loader.spreading import fit_sections, spread_gpu
from modelplug_migrators.gguf_loader.translate import translate_flat
from modelplug_migrators.gguf_loader.vocabulary import MISLEADING

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import StepContext

__all__ = ["UniversalToModelplug"]

_DEFAULT = ("backends", "default")
_PREFERRED = ("preferred_backend",)


class UniversalToModelplug(Migration):
    """The file becomes modelplug's settings: every key is one of these, or kept under `extras`.

    `backends.default` becomes `preferred_backend`; `auto` goes, because leaving `preferred_backend` out says
    the same. `llama_cpp_python` is spelled `llamacpp`. In each section, names of llama-cpp-python become
    modelplug's (`n_ctx` becomes `context_size`), and what the backend has no setting for goes to
    `extras.backends.NAME`. `priority` of the backends becomes `fallback_order`, if there is none.
    `backend_priorities` becomes `fallback_order_by_format`. `gpu_enabled` at the top goes into the sections.
    `ui`, `paths`, `addons` and every other key that modelplug has no setting for go to `extras`, with a
    reason each. `"version": 1` is added at the front.

    The way back takes `version` out, calls backends by their older names and brings back from `extras` what
    that layout had a place for. Keys that only modelplug has stay.
    """

    family = NAME
    kind = Kind.CONFIG
    source = UNIVERSAL
    target = MODELPLUG
    breaking = (
        "Only keys that modelplug has settings for have an effect; the others are under `extras`.",
        "-1 for `gpu_layers` means all layers on every backend; each plugin translates it.",
    )
    adds = (
        "`version` says which layout the file has.",
        "`generation`, `deadlines`, `isolation` and `fallback_order_by_format` can be set.",
    )

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Bring every key to its place in modelplug's settings."""
        free_extras(artifact)
        make_room(artifact, ("backends",))
        self._prefer(artifact)
        rename_sections(artifact, {})
        translate_flat(artifact, context, names={})
        rename_order(artifact, ("fallback_order",), {})
        order_by_priority(artifact)
        fit_sections(artifact)
        order_by_format(artifact)
        spread_gpu(artifact)
        if artifact.has("backends") and not artifact.names("backends"):
            artifact.drop("backends", why="there is no section in it")
        check_objects(artifact)
        shelve_leftovers(artifact)
        check_option(artifact, context)
        check_model(artifact, context)
        put_first(artifact, ("version",), 1)

    def _prefer(self, artifact: ConfigEditor) -> None:
        """Bring the preferred backend to the top."""
        default = artifact.get(_DEFAULT)
        if not artifact.has(_DEFAULT):
            return
        if default == "auto":
            artifact.drop(_DEFAULT, why="leaving preferred_backend out says the same")
        elif not isinstance(default, str) or not default:
            shelve(artifact, _DEFAULT, "it is no name of a backend", under=("backends",), warn=True)
        elif artifact.has(_PREFERRED):
            why = f"{spell(_PREFERRED)} says which backend comes first"
            shelve(artifact, _DEFAULT, why, under=("backends",), warn=True)
        elif is_new(artifact, _DEFAULT):
            artifact.drop(_DEFAULT, why="it moves to the front")
            artifact.add(_PREFERRED, called(default, {}), first=True)
        else:
            artifact.move(_DEFAULT, _PREFERRED)
            artifact.set(_PREFERRED, called(default, {}))

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:  # noqa: ARG002  not needed
        """Bring the keys back to where that layout has them."""
        make_room(artifact, ("backends",))
        if artifact.has("version"):
            artifact.drop("version", why="the older layout has none")
        rename_sections(artifact, NAMES_IN_2)
        rename_order(artifact, ("fallback_order",), NAMES_IN_2)
        priorities_by_format(artifact)
        if artifact.get(_PREFERRED) and not artifact.has(_DEFAULT):
            artifact.move(_PREFERRED, _DEFAULT)
            artifact.set(_DEFAULT, called(artifact.get(_DEFAULT), NAMES_IN_2))
        elif not artifact.has(_DEFAULT):
            if artifact.has(_PREFERRED):
                artifact.drop(_PREFERRED, why="backends.default = auto says the same")
            artifact.add(_DEFAULT, "auto")
        self._unshelve(artifact)

    def _unshelve(self, artifact: ConfigEditor) -> None:
        """Bring back from the extras what that layout had a place for."""
        kept = (*artifact.extras, "backends")
        for name in artifact.names(kept):
            if name not in ENGINES:
                continue
            section = ("backends", str(called(name, NAMES_IN_2)))
            for inner in artifact.names((*kept, name)):
                place = (*section, inner)
                if not artifact.has(place) and (not artifact.has(section) or artifact.is_mapping(section)):
                    artifact.move((*kept, name, inner), place)
            artifact.prune((*kept, name))
        artifact.prune(kept)
        for name in artifact.names(artifact.extras):
            path = (*artifact.extras, name)
            if not artifact.has(name) and name not in MISLEADING and name not in SCHEMA:
                artifact.move(path, name)
        artifact.prune(artifact.extras)
