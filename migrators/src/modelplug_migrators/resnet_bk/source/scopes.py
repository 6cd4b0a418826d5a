"""What names mean where: LibCST's scopes, found without its detours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libcst import metadata

if TYPE_CHECKING:
    import libcst as cst

__all__ = ["scopes_of"]


def scopes_of(module: cst.Module) -> dict[cst.CSTNode, Any]:
    """The scope of every node of a module that is in one.

    A `MetadataWrapper` would look through the hundreds of methods of both providers anew for each module, to
    find the one that they have.

    Args:
        module: The module; no node may be in it twice.
    """
    contexts = metadata.ExpressionContextProvider()
    contexts.visit_Module(module)
    scopes = metadata.ScopeProvider()
    scopes.metadata = {metadata.ExpressionContextProvider: contexts._computed}
    scopes.visit_Module(module)
    return dict(scopes._computed)
