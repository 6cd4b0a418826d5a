"""The plugin host: finds plugins, loads each in its own guard, asks them, and keeps their failures apart.

`PluginManager` is the whole of it for the rest of the core.
"""

from __future__ import annotations

from modelplug.plugins.manager import PluginManager
from modelplug.plugins.records import HookResult, MissingPlugin, PluginRecord, PluginState

__all__ = ["HookResult", "MissingPlugin", "PluginManager", "PluginRecord", "PluginState"]
