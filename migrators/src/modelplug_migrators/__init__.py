"""Migration steps for programs that came before modelplug: the hook. Importing it imports no step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.migration.steps import Family, Migration

MODELPLUG_HOOKSPEC_VERSION = "1.0"


@hookimpl
def modelplug_migrations() -> Iterable[Family | type[Migration]]:
    """Give the families and steps that this distribution brings."""
    from modelplug_migrators.gguf_loader import family as gguf_loader
    from modelplug_migrators.resnet_bk import family as resnet_bk

    return [gguf_loader.FAMILY, *gguf_loader.STEPS, resnet_bk.FAMILY, *resnet_bk.STEPS]
