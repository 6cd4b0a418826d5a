"""Makes transformers' Auto classes know ResNet-BK models, without importing transformers for that."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["register_with_transformers"]

# When this module is there, so are all Auto classes for models.
_AUTO = "transformers.models.auto.modeling_auto"
# Imports the Auto classes itself, and our models import it.
_LAYERS = "transformers.modeling_layers"
_NEEDED = ("resnet_bk.configuration", "resnet_bk.modeling", _LAYERS)


def register_with_transformers(caller: str = "") -> None:
    """Register now if transformers' Auto classes are in use, and otherwise once they are.

    Args:
        caller: The module that calls this as the last thing it does when it is imported.
    """
    if _AUTO in sys.modules:
        _register_unless_importing(caller)
    elif not any(isinstance(finder, _AutoFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AutoFinder())


def _register_unless_importing(caller: str = "") -> None:
    """Register, unless what that needs is just being imported, which is then followed by it."""
    if any(_is_being_imported(name) for name in _NEEDED if name != caller):
        return
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from resnet_bk.configuration import MambaKillerConfig
    from resnet_bk.modeling import ResNetBKForCausalLM, ResNetBKModel

    AutoConfig.register(MambaKillerConfig.model_type, MambaKillerConfig, exist_ok=True)
    AutoModel.register(MambaKillerConfig, ResNetBKModel, exist_ok=True)
    AutoModelForCausalLM.register(MambaKillerConfig, ResNetBKForCausalLM, exist_ok=True)


def _is_being_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


class _AutoFinder(MetaPathFinder):
    """Finds two modules as they are found anyway, and has them followed by the registration."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module's own spec, with a loader around its loader; None for all other modules."""
        if name not in (_AUTO, _LAYERS):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _FollowedLoader(spec.loader)
        return spec


class _FollowedLoader(Loader):
    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, and register."""
        self._inner.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        module.__loader__ = self._inner
        if _AUTO in sys.modules:
            _register_unless_importing(module.__name__)
