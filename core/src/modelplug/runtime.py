"""One place that holds what a program needs of modelplug: directories, settings, plugins, history, system.

Nothing here is global: the command line makes one `Runtime` per invocation, `modelplug.load` makes one per
call unless it is given one, and tests make as many as they like.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from modelplug.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.backends.detect import BackendManager
    from modelplug.config import ConfigManager
    from modelplug.history import HistoryStore
    from modelplug.plugins import PluginManager
    from modelplug.system.info import SystemInfo

__all__ = ["Runtime"]


class Runtime:
    """Directories, settings, plugins, history and system of one program run, each made when first used.

    Args:
        environ: The environment to read; None reads the process's own.
        strict_plugins: Whether any plugin failure is an error (`PluginError`) and not only reported.
        no_plugins: Whether to load no plugin at all.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        strict_plugins: bool = False,
        no_plugins: bool = False,
    ) -> None:
        self._environ = environ
        self._strict_plugins = strict_plugins
        self._no_plugins = no_plugins

    @cached_property
    def paths(self) -> Paths:
        """Where files are kept."""
        return Paths.from_environment(self._environ)

    @cached_property
    def config(self) -> ConfigManager:
        """The settings."""
        from modelplug.config import ConfigManager
        from modelplug.config.validation import installed_settings_classes

        return ConfigManager(
            self.paths,
            environ=self._environ,
            settings_classes=lambda: installed_settings_classes(self.plugins),
        )

    @cached_property
    def plugins(self) -> PluginManager:
        """The plugins, discovered but not imported."""
        from modelplug.plugins import PluginManager

        return PluginManager(
            paths=self.paths,
            environ=self._environ,
            strict=self._strict_plugins,
            no_plugins=self._no_plugins,
        )

    @cached_property
    def history(self) -> HistoryStore:
        """Known models and earlier runs."""
        from modelplug.history import HistoryStore

        return HistoryStore(self.paths.history_file, paths=self.paths)

    @cached_property
    def system(self) -> SystemInfo:
        """What this machine is, probed once per runtime."""
        from modelplug.system import probe

        return probe()

    @cached_property
    def backends(self) -> BackendManager:
        """Which engines there are, and how usable."""
        from modelplug.backends.detect import BackendManager

        return BackendManager(runtime=self)
