"""A plugin whose import kills the process, as a native library built for another CPU does."""

from __future__ import annotations

import os

MODELPLUG_HOOKSPEC_VERSION = "1.0"

os.abort()
