"""What is remembered about plugins between runs: which are disabled, and which were here before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modelplug.errors import ConfigError
from modelplug.plugins.discovery import normalised
from modelplug.plugins.files import locked, read_object, set_aside, write_object
from modelplug.plugins.installs import install_command
from modelplug.plugins.records import MissingPlugin, PluginState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modelplug.plugins.records import PluginRecord

__all__ = ["DisabledPlugins", "SeenPlugins"]


class DisabledPlugins:
    """The names in `plugins.json`, which `modelplug plugins disable` and `enable` write.

    Args:
        path: The file.

    Attributes:
        names: The disabled names, sorted.
        problem: A sentence on why the file can't be read; empty if it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem = ""
        self.names: tuple[str, ...] = ()
        self._read()

    def _read(self) -> dict[str, Any]:
        content, fault = read_object(self._path)
        names = content.get("disabled", [])
        if not fault and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            fault = f"'disabled' is {names!r}, not a list of names"
        self.names = () if fault else tuple(sorted(set(names)))
        self.problem = (
            f"{self._path} can't be read ({fault}), so no plugin counts as disabled; "
            "`modelplug plugins disable NAME` sets the file aside and writes a new one"
            if fault
            else ""
        )
        return {} if fault else content

    def change(self, name: str, *, disabled: bool) -> None:
        """Write a name into the file, or take it out. Other entries of the file are kept.

        Raises:
            ConfigError: The file can't be written.
        """
        try:
            with locked(self._path):
                content = self._read()
                if self.problem and self._path.exists():
                    set_aside(self._path)
                    self.problem = ""
                names = {*self.names, name} if disabled else set(self.names) - {name}
                content.update(version=content.get("version", 1), disabled=sorted(names))
                write_object(self._path, content)
                self.names = tuple(sorted(names))
        except OSError as error:
            raise ConfigError(
                f"the plugin {name!r} could not be {'disabled' if disabled else 'enabled'} for good",
                path=self._path,
                why=f"{self._path} can't be written: {error.strerror or error}",
                advice="Make the directory writable, or set MODELPLUG_DISABLE_PLUGINS instead.",
            ) from error


class SeenPlugins:
    """The plugins that were ready in this environment at some time.

    Args:
        path: The file they are kept in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def update(self, present: Iterable[PluginRecord]) -> None:
        """Add the plugins that are ready now. The file is written only if it says something else.

        Args:
            present: Every plugin that is installed.
        """
        present = tuple(present)
        names = {record.name for record in present}
        distributions = {normalised(record.distribution) for record in present}
        # A name that its distribution has given up is not missed when the distribution goes, too.
        known = {
            name: entry
            for name, entry in self._known().items()
            if name in names or normalised(str(entry.get("distribution", ""))) not in distributions
        }
        for record in present:
            if record.state is not PluginState.READY:
                continue
            known[record.name] = {
                "distribution": record.distribution,
                "version": record.version,
                "source": record.source,
            }
        self._store(known)

    def missing(self, present: Iterable[PluginRecord]) -> tuple[MissingPlugin, ...]:
        """Those whose name and distribution both are gone."""
        present = tuple(present)
        names = {record.name for record in present}
        distributions = {normalised(record.distribution) for record in present}
        result = []
        for name, entry in sorted(self._known().items()):
            distribution = str(entry.get("distribution", ""))
            if not distribution or name in names or normalised(distribution) in distributions:
                continue
            result.append(
                MissingPlugin(
                    name=name,
                    distribution=distribution,
                    version=str(entry.get("version", "")),
                    install=install_command(distribution, str(entry.get("source") or "")),
                )
            )
        return tuple(result)

    def forget(self, name: str) -> bool:
        """Stop missing a plugin; whether it was known."""
        known = self._known()
        if known.pop(name, None) is None:
            return False
        self._store(known)
        return True

    def _known(self) -> dict[str, dict[str, Any]]:
        # Environments share the user's directories, so each has its own list.
        environments = read_object(self._path)[0].get("environments")
        entries = environments.get(sys.prefix) if isinstance(environments, dict) else None
        if not isinstance(entries, dict):
            return {}
        return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}

    def _store(self, known: dict[str, dict[str, Any]]) -> None:
        if known == self._known():
            return
        try:
            with locked(self._path):
                content = read_object(self._path)[0]
                environments = content.get("environments")
                others = environments if isinstance(environments, dict) else {}
                write_object(self._path, {"version": 1, "environments": {**others, sys.prefix: known}})
        except OSError:
            # It only serves to miss a plugin later on; a read-only home must not stop what works now.
            return
