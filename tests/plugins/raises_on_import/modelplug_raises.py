"""A plugin whose import raises."""

from __future__ import annotations

MODELPLUG_HOOKSPEC_VERSION = "1.0"

raise RuntimeError("the licence server said no")
