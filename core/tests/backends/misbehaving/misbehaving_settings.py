"""The settings with which the misbehaving engine is told how to fail."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings


@attrs.frozen(kw_only=True)
class MisbehavingSettings(BackendSettings):
    """When and how to fail.

    Attributes:
        fault: A name of `misbehaving_engine.FAULTS`; empty for none.
        at: `import`, `load`, `gpu-load` (only with layers on a device), `first` or `middle`.
        most_layers: Loading fails with more layers than this on a device; None for no such limit.
        seconds: How long a hang lasts.
        pace: Seconds between two tokens.
        scratch: Whether to leave something in the scratch directory.
        journal: A file to which loading and failing are written, line by line.
    """

    fault: str = ""
    at: str = "load"
    most_layers: int | None = None
    seconds: float = 120.0
    pace: float = 0.0
    scratch: bool = False
    journal: str = ""
