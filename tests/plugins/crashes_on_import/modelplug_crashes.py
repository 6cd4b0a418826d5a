"""A plugin whose import kills the process, as a native library built for another CPU does."""

from __future__ import annotations

import os
from pathlib import Path

MODELPLUG_HOOKSPEC_VERSION = "1.0"

# Tells whoever asks for it that this was imported.
if os.environ.get("TRACE_IMPORTS"):
    Path(os.environ["TRACE_IMPORTS"], "crashes").touch()

os.abort()
