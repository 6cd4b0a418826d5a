"""A plugin whose import never ends."""

from __future__ import annotations

import os
import threading
from pathlib import Path

MODELPLUG_HOOKSPEC_VERSION = "1.0"

# Tells whoever asks for it that this was imported.
if os.environ.get("TRACE_IMPORTS"):
    Path(os.environ["TRACE_IMPORTS"], "hangs").touch()

threading.Event().wait()
