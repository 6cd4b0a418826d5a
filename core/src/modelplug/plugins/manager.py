"""The plugin manager: every plugin's state, and the way to ask them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import ModelplugError, PluginError, UsageError
from modelplug.plugins.checks import check_result
from modelplug.plugins.discovery import discover, installed_entry_points
from modelplug.plugins.failures import (
    as_error,
    load_failed,
    raised,
    raised_in_result,
    remedy,
    traceback_text,
)
from modelplug.plugins.loading import Loader
from modelplug.plugins.memory import DisabledPlugins, SeenPlugins
from modelplug.plugins.records import HookResult, MissingPlugin, PluginRecord, PluginState
from modelplug.plugins.switches import Switches, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from importlib_metadata import EntryPoint

    from modelplug.paths import Paths

__all__ = ["PluginManager"]

LOAD_HOOK = "modelplug_load_model"


class PluginManager:
    """All plugins of this environment: found from metadata, loaded when first asked, each in its own guard.

    A plugin that can't be imported, does not fit this core, raises in a hook or returns the wrong type is
    set apart: its record says what failed and what to do, and the others are used as if it were not there.

    Args:
        paths: Where disabled names and caches are kept; None takes the user's directories.
        environ: The environment to read lists and limits from; None reads the process's own.
        strict: Whether a failure of any plugin is raised as a `PluginError`.
        no_plugins: Whether to load none.
        only: Load only these, by entry-point name or distribution; None loads all.
        entry_points: The entry points to use in place of the installed ones, for tests.
        specification: The module of hook specifications in place of modelplug's own, for tests.
        checks: Checks of results by hook name in place of modelplug's own, for tests.
    """

    def __init__(
        self,
        *,
        paths: Paths | None = None,
        environ: Mapping[str, str] | None = None,
        strict: bool = False,
        no_plugins: bool = False,
        only: Iterable[str] | None = None,
        entry_points: Iterable[EntryPoint] | None = None,
        specification: Any = None,
        checks: Mapping[str, Callable[[object], Any]] | None = None,
    ) -> None:
        from modelplug import hookspecs
        from modelplug.paths import Paths as AllPaths

        self._environ = os.environ if environ is None else environ
        self._paths = AllPaths.from_environment(self._environ) if paths is None else paths
        self._strict = strict
        self._checks = checks
        # Re-entrant: a plugin's own code may ask the manager again.
        self._lock = threading.RLock()
        self._disabled = DisabledPlugins(self._paths.config / "plugins.json")
        self._seen = SeenPlugins(self._paths.data / "plugins-seen.json")
        # A process that loads only some must not take the others for gone.
        self._whole = only is None and not no_plugins
        self._metadata_problems: list[str] = []
        if entry_points is None:
            entry_points = installed_entry_points(hookspecs.ENTRY_POINT_GROUP, self._metadata_problems)
        self._candidates = {candidate.record.name: candidate for candidate in discover(entry_points)}
        self._records = {name: candidate.record for name, candidate in self._candidates.items()}
        self._only, self._no_plugins = None if only is None else tuple(only), no_plugins
        self._apply_switches()
        self._loader = Loader(
            specification=hookspecs if specification is None else specification,
            cache=self._paths.cache / "plugin-imports.json",
            environ=self._environ,
        )

    def _apply_switches(self) -> None:
        self._switches = Switches.read(
            self._environ, no_plugins=self._no_plugins, only=self._only, disabled=self._disabled.names
        )
        for name, record in self._records.items():
            off = self._switches.why_off(record)
            if off is not None:
                cause, todo = off
                self._records[name] = attrs.evolve(
                    record, state=PluginState.DISABLED, cause=cause, remedy=todo
                )
            elif record.state is PluginState.DISABLED:
                self._records[name] = self._candidates[name].record

    # What there is ----------------------------------------------------------------------------------------

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plugin as it stands now, by name. Asking imports nothing."""
        return tuple(self._records.values())

    def record(self, name: str) -> PluginRecord:
        """One plugin as it stands now.

        Args:
            name: Its entry point's name, or the name of its distribution if that has one plugin only.

        Raises:
            UsageError: There is none of that name.
        """
        if name in self._records:
            return self._records[name]
        same = [record for record in self.records if record.distribution == name]
        if len(same) == 1:
            return same[0]
        near = nearest(name, self.records)
        installed = ", ".join(self._records) or "none"
        raise UsageError(
            f"no plugin is named {name!r}",
            why=f"the plugins installed in this environment are: {installed}",
            advice=f"Did you mean {' or '.join(near)}?" if near else "Run `modelplug plugins list`.",
        )

    @property
    def general_problems(self) -> tuple[str, ...]:
        """What is wrong beside the plugins themselves: lists, files and metadata, in full sentences."""
        found = list(self._metadata_problems)
        if self._disabled.problem:
            found.append(self._disabled.problem)
        found.extend(sentence for _, sentence in self._switches.unknown(self.records))
        return tuple(found)

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong as far as it is known now, in full sentences."""
        found = list(self.general_problems)
        for record in self.records:
            who = f"plugin {record.name!r} ({record.origin})"
            if record.broken:
                found.append(f"{who} {record.status}: {record.cause}. {record.remedy}".strip())
            elif record.state is PluginState.READY and record.cause:
                found.append(f"{who}: {record.cause}. {record.remedy}".strip())
            found.extend(f"{who}: {warning}" for warning in record.warnings)
        return tuple(found)

    @property
    def missing(self) -> tuple[MissingPlugin, ...]:
        """Plugins that worked in this environment before and are not installed any more."""
        return self._seen.missing(self.records)

    def forget(self, name: str) -> bool:
        """Stop counting a plugin as missing; whether it was."""
        return self._seen.forget(name)

    # Loading ----------------------------------------------------------------------------------------------

    def load_all(self) -> None:
        """Import every plugin that is found and not disabled; those already loaded stay as they are.

        Raises:
            PluginError: One failed, and the manager is strict.
        """
        with self._lock:
            waiting = [name for name, record in self._records.items() if record.state is PluginState.FOUND]
            if waiting:
                loaded = self._loader.load([self._candidates[name] for name in waiting])
                self._records.update({record.name: record for record in loaded})
                if self._whole:
                    self._seen.update(self.records)
        if self._strict:
            self._raise_first_problem()

    def load(self, name: str) -> PluginRecord:
        """Import one plugin if it is found and not disabled.

        Returns:
            Its record afterwards; look at its state.

        Raises:
            UsageError: There is none of that name.
            PluginError: It failed, and the manager is strict.
        """
        with self._lock:
            record = self.record(name)
            if record.state is PluginState.FOUND:
                (record,) = self._loader.load([self._candidates[record.name]])
                self._records[record.name] = record
        if self._strict and record.broken:
            raise as_error(record)
        return record

    def _raise_first_problem(self) -> None:
        for record in self.records:
            if record.broken:
                raise as_error(record)
        for name, sentence in self._switches.unknown(self.records):
            raise PluginError(
                f"no plugin is named {name!r}", plugin=name, why=sentence, advice="modelplug plugins list"
            )

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Switch a plugin on or off for good.

        Switching on also forgets that it hung or crashed, so that it is tried again.

        Raises:
            UsageError: There is none of that name, and none of that name was disabled.
            ConfigError: The choice can't be written down.
        """
        with self._lock:
            if not (enabled and name in self._disabled.names):
                name = self.record(name).name
            self._disabled.change(name, disabled=not enabled)
            self._apply_switches()
            candidate = self._candidates.get(name)
            if candidate is None:
                return
            self._loader.unload(name)
            if enabled:
                self._loader.forget_verdict(candidate)
                if self._records[name].state is not PluginState.DISABLED:
                    self._records[name] = candidate.record

    # Asking -----------------------------------------------------------------------------------------------

    def call(self, hook: str, **arguments: Any) -> list[HookResult]:
        """What every ready plugin answers to a hook, in a fixed order; an answer of None is left out.

        A plugin that raises or returns the wrong type is set apart and reported, and gives no answer.

        Args:
            hook: The hook's name.
            arguments: All of the hook's arguments.

        Raises:
            PluginError: A plugin failed, and the manager is strict.
        """
        self._expect(hook, arguments)
        self.load_all()
        results: list[HookResult] = []
        for name in self._ready(hook):
            results.extend(self._contained(name, hook, arguments))
        return results

    def call_first(self, hook: str, *, plugin: str | None = None, **arguments: Any) -> HookResult | None:
        """The first answer to a hook that is not None; None if there is no answer.

        Args:
            hook: The hook's name.
            plugin: Ask only this plugin, and import no other.
            arguments: All of the hook's arguments.

        Raises:
            ModelplugError: The implementation raised it: that is an answer, not a fault of the plugin.
            BackendError: Whatever else an implementation of `modelplug_load_model` raised.
            UsageError: There is no plugin of that name.
            PluginError: A plugin failed, and the manager is strict.
        """
        self._expect(hook, arguments)
        if plugin is None:
            self.load_all()
            names = self._ready(hook)
        else:
            record = self.load(plugin)
            names = [name for name in self._ready(hook) if name == record.name]
        for name in names:
            for result in self._contained(name, hook, arguments, errors_are_answers=True):
                return result
        return None

    def _expect(self, hook: str, arguments: Mapping[str, object]) -> None:
        expected = self._loader.registry.arguments(hook)
        if set(expected) != set(arguments):
            msg = f"{hook} takes {', '.join(expected) or 'no arguments'}; it was given {', '.join(arguments)}"
            raise TypeError(msg)

    def _ready(self, hook: str) -> list[str]:
        names = self._loader.registry.implementers(hook)
        return [name for name in names if self._records[name].state is PluginState.READY]

    def _contained(
        self, name: str, hook: str, arguments: Mapping[str, Any], *, errors_are_answers: bool = False
    ) -> list[HookResult]:
        """One plugin's answers; a failure ends in its record and gives no answer."""
        registry, module = self._loader.registry, self._records[name].module
        try:
            answers = registry.ask(name, hook, arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if errors_are_answers and isinstance(error, ModelplugError):
                raise
            if hook == LOAD_HOOK and isinstance(error, Exception):
                raise load_failed(self._records[name], arguments, error) from error
            self._failed(name, f"its {hook} raised {raised(error, module)}", error)
            return []
        try:
            return [HookResult(name, check_result(hook, answer, self._checks)) for answer in answers]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  a result may be a generator: the plugin's code runs here
            self._failed(
                name, f"its {hook}{registry.place(name, hook)}: {raised_in_result(error, module)}", error
            )
            return []

    def _failed(self, name: str, cause: str, error: BaseException) -> None:
        record = attrs.evolve(
            self._records[name],
            state=PluginState.FAILED,
            cause=cause,
            remedy=remedy(self._records[name]),
            traceback=traceback_text(error),
        )
        self._records[name] = record
        if self._strict:
            raise as_error(record) from error

    def report_problem(self, plugin: str, cause: str, remedy: str = "", *, quarantine: bool = False) -> None:
        """Hold something against a plugin that only its caller can see, such as a name that is taken.

        Args:
            plugin: Its name.
            cause: What is wrong, as a clause.
            remedy: What to do about it.
            quarantine: Whether not to ask the plugin any more.

        Raises:
            PluginError: The manager is strict.
        """
        record = self.record(plugin)
        parts = [cause, remedy]
        if record.cause == cause:
            return
        if record.cause:
            extra = ". ".join(part for part in parts if part)
            if extra not in record.warnings:
                record = attrs.evolve(record, warnings=(*record.warnings, extra))
        else:
            record = attrs.evolve(record, cause=cause, remedy=remedy)
        if quarantine:
            record = attrs.evolve(record, state=PluginState.FAILED)
        self._records[record.name] = record
        if self._strict:
            raise as_error(record)
