"""A plugin whose import never ends."""

from __future__ import annotations

import threading

MODELPLUG_HOOKSPEC_VERSION = "1.0"

threading.Event().wait()
