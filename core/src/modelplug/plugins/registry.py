"""Registers plugins with pluggy, one at a time and unforgivingly, and asks them one at a time."""

from __future__ import annotations

import difflib
import inspect
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from modelplug.plugins.failures import function_place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ContractError", "Registered", "Registry"]

PREFIX = "modelplug_"


class ContractError(Exception):
    """A plugin's hook implementations do not follow the contract."""


@attrs.frozen(kw_only=True)
class Registered:
    """What registering a plugin showed.

    Attributes:
        hooks: The hooks it implements, sorted.
        warnings: Full sentences on what it should change.
    """

    hooks: tuple[str, ...]
    warnings: tuple[str, ...]


class Registry:
    """The plugins that passed, and their hook implementations.

    Args:
        specification: The module (or class) of hook specifications.
    """

    def __init__(self, specification: Any) -> None:
        self._manager = pluggy.PluginManager("modelplug")
        self._manager.add_hookspecs(specification)
        self._plugins: dict[str, object] = {}
        self._callers: dict[tuple[str, str], pluggy.HookCaller] = {}

    @property
    def hooks(self) -> tuple[str, ...]:
        """The names of all specified hooks, sorted."""
        return tuple(sorted(name for name in vars(self._manager.hook) if self._specified(name)))

    def _specified(self, hook: str) -> bool:
        caller: pluggy.HookCaller | None = getattr(self._manager.hook, hook, None)
        return caller is not None and caller.has_spec()

    def register(self, name: str, plugin: object) -> Registered:
        """Take a plugin in, or leave everything as it was.

        pluggy checks argument names against the specification and warns of deprecated hooks and arguments
        (`warn_on_impl`, `warn_on_impl_args`); those warnings become part of the result. What pluggy lets
        pass until `check_pending` is refused here: an implementation of a hook that does not exist.

        Raises:
            ContractError: An implementation does not fit its specification, or belongs to none.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self._manager.register(plugin, name)
            except pluggy.PluginValidationError as error:
                self._discard(plugin)
                raise ContractError(_one_line(str(error))) from error
            except ValueError as error:
                raise ContractError(_one_line(str(error))) from error
        callers = self._manager.get_hookcallers(plugin) or []
        unknown = self._unknown(name, callers)
        if unknown:
            self._discard(plugin)
            raise ContractError(unknown)
        self._plugins[name] = plugin
        hooks = tuple(sorted({caller.name for caller in callers if caller.has_spec()}))
        notes = [
            f"{item.category.__name__}: {_one_line(str(item.message))} ({item.filename}:{item.lineno})"
            for item in caught
        ]
        notes.extend(self._unmarked(plugin, hooks))
        if not hooks:
            notes.append("It implements no hook, so it does nothing.")
        return Registered(hooks=hooks, warnings=tuple(notes))

    def unregister(self, name: str) -> None:
        """Let go of a plugin; nothing happens if there is none of that name."""
        plugin = self._plugins.pop(name, None)
        if plugin is not None:
            self._discard(plugin)
            self._callers = {key: caller for key, caller in self._callers.items() if key[0] != name}

    def _discard(self, plugin: object) -> None:
        # Depending on its version, pluggy has registered half of a plugin that it then refuses.
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)

    def implementers(self, hook: str) -> list[str]:
        """The plugins that implement a hook, in the order in which pluggy would ask them."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return list(dict.fromkeys(item.plugin_name for item in reversed(implementations)))

    def arguments(self, hook: str) -> tuple[str, ...]:
        """The argument names of a hook.

        Raises:
            LookupError: There is no such hook.
        """
        if not self._specified(hook):
            near = difflib.get_close_matches(hook, self.hooks, n=1)
            msg = f"no hook is named {hook!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            raise LookupError(msg)
        spec = getattr(self._manager.hook, hook).spec
        return tuple(spec.argnames)

    def ask(self, name: str, hook: str, arguments: Mapping[str, object]) -> list[Any]:
        """What one plugin answers: its results that are not None. Raises whatever the plugin raises."""
        caller = self._callers.get((name, hook))
        if caller is None:
            others = [plugin for other, plugin in self._plugins.items() if other != name]
            caller = self._manager.subset_hook_caller(hook, others)
            self._callers[name, hook] = caller
        answer = caller(**arguments)
        if caller.spec is not None and caller.spec.opts["firstresult"]:
            return [] if answer is None else [answer]
        return list(answer)

    def place(self, name: str, hook: str) -> str:
        """` (file:line)` of a plugin's implementation of a hook."""
        for item in getattr(self._manager.hook, hook).get_hookimpls():
            if item.plugin_name == name:
                return function_place(item.function)
        return ""

    def _unknown(self, name: str, callers: list[pluggy.HookCaller]) -> str:
        """A sentence on implementations of hooks that do not exist; empty if there is none."""
        faults = []
        for caller in callers:
            if caller.has_spec():
                continue
            for item in caller.get_hookimpls():
                if item.plugin_name == name and not item.optionalhook:
                    near = difflib.get_close_matches(caller.name, self.hooks, n=1)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    faults.append(f"{caller.name!r}{hint}{function_place(item.function)}")
        return f"it implements a hook that does not exist: {', '.join(faults)}" if faults else ""

    def _unmarked(self, plugin: object, hooks: tuple[str, ...]) -> list[str]:
        """Sentences on functions that have the name of a hook but no `hookimpl` mark."""
        own = set(dir(plugin)) & set(self.hooks) - set(hooks)
        return [
            f"Its function {name!r} has a hook's name but is not marked with @hookimpl, so it is ignored."
            for name in sorted(own)
            if inspect.isroutine(inspect.getattr_static(plugin, name, None))
        ]


def _one_line(text: str) -> str:
    return " ".join(text.split())
