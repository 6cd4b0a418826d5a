"""Takes a plugin from its metadata to readiness: safe to import, importable, compatible, well-formed."""

from __future__ import annotations

import sys
import traceback
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import UsageError
from modelplug.plugins.failures import place_in, raised, remedy, traceback_text
from modelplug.plugins.guard import import_guarded
from modelplug.plugins.installs import upgrade_command
from modelplug.plugins.records import PluginRecord, PluginState
from modelplug.plugins.registry import ContractError, Registry
from modelplug.plugins.verdicts import Verdict, VerdictCache, probe
from modelplug.plugins.versions import ATTRIBUTE, shake_hands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from modelplug.plugins.discovery import Candidate

__all__ = ["Loader"]

DEADLINE_VARIABLE = "MODELPLUG_PLUGIN_DEADLINE"
DEADLINE = 10.0


class Loader:
    """Imports and registers plugins.

    Args:
        specification: The module of hook specifications, with its `HOOKSPEC_VERSION`.
        cache: The file in which it is kept which plugins are safe to import.
        environ: The environment; `MODELPLUG_PLUGIN_DEADLINE` is the time each import may take, in seconds,
            and 0 there imports without any guard but `try`.
    """

    def __init__(self, *, specification: Any, cache: Path, environ: Mapping[str, str]) -> None:
        self._specification = specification
        self._verdicts = VerdictCache(cache)
        self._environ = environ

    @cached_property
    def registry(self) -> Registry:
        """The plugins that are ready."""
        return Registry(self._specification)

    @cached_property
    def deadline(self) -> float:
        """Seconds each import may take; 0 for no guard.

        Raises:
            UsageError: The environment says something that is no such number.
        """
        text = self._environ.get(DEADLINE_VARIABLE, "").strip()
        try:
            seconds = float(text) if text else DEADLINE
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= 3600:
            raise UsageError(
                f"{DEADLINE_VARIABLE} is {text!r}",
                why="it must be a number of seconds from 0 to 3600",
                advice=f"Unset it to have the default of {DEADLINE:g} seconds.",
            )
        return seconds

    def load(self, candidates: Sequence[Candidate]) -> list[PluginRecord]:
        """The records of plugins after trying to load them, in the same order."""
        verdicts = self._safe_to_import(candidates)
        records = {}
        # pluggy asks the plugin registered last first, so this order makes them answer in order of name.
        for candidate in sorted(candidates, key=lambda item: item.record.name, reverse=True):
            name = candidate.record.name
            records[name] = self._load_one(candidate, verdicts.get(name, Verdict()))
        return [records[candidate.record.name] for candidate in candidates]

    def unload(self, name: str) -> None:
        """Take a plugin out; its module stays imported."""
        self.registry.unregister(name)

    def forget_verdict(self, candidate: Candidate) -> None:
        """Find out anew whether a plugin is safe to import."""
        self._verdicts.forget(candidate)

    def _safe_to_import(self, candidates: Sequence[Candidate]) -> dict[str, Verdict]:
        # A frozen program has no interpreter to start a child with; the watched import has to do there.
        if self.deadline == 0 or not sys.executable or getattr(sys, "frozen", False):
            return {}
        known = {}
        unknown = []
        for candidate in candidates:
            if candidate.record.module.partition(":")[0].strip() in sys.modules:
                continue
            verdict = self._verdicts.get(candidate)
            if verdict is None:
                unknown.append(candidate)
            else:
                known[candidate.record.name] = verdict
        if unknown:
            found = probe(unknown, deadline=self.deadline, environ=self._environ)
            self._verdicts.put(
                (item, found[item.record.name]) for item in unknown if item.record.name in found
            )
            known.update(found)
        return known

    def _load_one(self, candidate: Candidate, verdict: Verdict) -> PluginRecord:
        record = candidate.record
        if not verdict.safe:
            return attrs.evolve(
                record,
                state=PluginState.FAILED,
                cause=verdict.cause,
                remedy=f"{remedy(record)}; to try it again: modelplug plugins enable {record.name}",
                traceback=verdict.traceback,
            )
        outcome = import_guarded(candidate.entry_point.load, name=record.name, deadline=self.deadline)
        record = attrs.evolve(record, import_seconds=outcome.seconds, warnings=outcome.warnings)
        if outcome.error is not None:
            return attrs.evolve(
                record,
                state=PluginState.FAILED,
                cause=f"importing it raised {raised(outcome.error, record.module)}",
                remedy=remedy(record, outcome.error),
                traceback=traceback_text(outcome.error),
            )
        if outcome.hung:
            place = place_in(outcome.stack, record.module)
            return attrs.evolve(
                record,
                state=PluginState.FAILED,
                cause=f"importing it did not end within {self.deadline:g} s{place}",
                remedy=remedy(record),
                traceback="".join(traceback.format_list(outcome.stack)),
            )
        return self._admit(record, outcome.value)

    def _admit(self, record: PluginRecord, plugin: Any) -> PluginRecord:
        """The record of an imported plugin, which is registered if it keeps to the contract."""
        try:
            hands = shake_hands(
                _stated_version(plugin, record.module),
                self._specification.HOOKSPEC_VERSION,
                distribution=record.distribution or record.name,
                upgrade=upgrade_command(record.distribution or record.name, record.source),
            )
            record = attrs.evolve(record, hookspec_version=hands.version)
            if hands.cause:
                return attrs.evolve(
                    record, state=PluginState.INCOMPATIBLE, cause=hands.cause, remedy=hands.remedy
                )
            registered = self.registry.register(record.name, plugin)
        except ContractError as error:
            return attrs.evolve(record, state=PluginState.FAILED, cause=str(error), remedy=remedy(record))
        except Exception as error:  # noqa: BLE001  looking at a plugin's attributes runs the plugin's code
            return attrs.evolve(
                record,
                state=PluginState.FAILED,
                cause=f"looking at what it implements raised {raised(error, record.module)}",
                remedy=remedy(record),
                traceback=traceback_text(error),
            )
        return attrs.evolve(
            record,
            state=PluginState.READY,
            hooks=registered.hooks,
            warnings=(*record.warnings, *registered.warnings),
        )


def _stated_version(plugin: Any, module: str) -> object:
    """What the plugin object states, or else its module."""
    stated = getattr(plugin, ATTRIBUTE, None)
    if stated is not None:
        return stated
    return getattr(sys.modules.get(module.partition(":")[0].strip()), ATTRIBUTE, None)
