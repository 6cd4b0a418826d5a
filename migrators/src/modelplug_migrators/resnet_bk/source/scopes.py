"""What names mean where, and where everything stands: LibCST's scopes and places, without its detours.

A `MetadataWrapper` would look through the hundreds of methods of its providers anew for each module, to find
the few that they have, and walk through it once more with none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libcst import metadata

if TYPE_CHECKING:
    import libcst as cst

__all__ = ["places_of", "scopes_of"]


def scopes_of(module: cst.Module) -> dict[cst.CSTNode, Any]:
    """The scope of every node of a module that is in one.

    Args:
        module: The module; no node may be in it twice.
    """
    contexts = metadata.ExpressionContextProvider()
    contexts.visit_Module(module)
    scopes = metadata.ScopeProvider()
    scopes.metadata = {metadata.ExpressionContextProvider: contexts._computed}
    scopes.visit_Module(module)
    return dict(scopes._computed)


def places_of(module: cst.Module) -> dict[cst.CSTNode, Any]:
    """Where every node of a module begins and ends.

    Args:
        module: The module; no node may be in it twice.
    """
    places = metadata.PositionProvider()
    places._gen_impl(module)
    return dict(places._computed)
