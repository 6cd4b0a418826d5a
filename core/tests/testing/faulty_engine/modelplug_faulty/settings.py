"""The settings of the faulty backend."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["FaultySettings", "UndocumentedSettings"]


@attrs.frozen(kw_only=True)
class FaultySettings(BackendSettings):
    """What the faulty engine can be told.

    Attributes:
        fault: Which clause of the contract to break.
    """

    fault: str = ""


@attrs.frozen(kw_only=True)
class UndocumentedSettings(BackendSettings):
    """What the faulty engine can be told."""

    fault: str = ""
