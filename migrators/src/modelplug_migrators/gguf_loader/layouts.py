"""The versions of the family, and the names that tell its layouts apart."""

from __future__ import annotations

from modelplug.migration.steps import FamilyVersion
from modelplug.migration.versions import Version

__all__ = [
    "APPLICATION",
    "BACKEND_SET_1_0",
    "BACKEND_SET_1_1",
    "FIRST",
    "FLAT",
    "HOME",
    "INTERFACE",
    "MODELPLUG",
    "MULTI_BACKEND",
    "NAME",
    "NEWEST",
    "PRESET",
    "SIDE_FILE",
    "UNIVERSAL",
    "VERSIONS",
]

NAME = "gguf-loader"

FLAT = Version(0, 1)
APPLICATION = Version(0, 2)
FIRST = Version(0, 3)
INTERFACE = Version(0, 4)
PRESET = Version(0, 5)
SIDE_FILE = Version(0, 6)
HOME = Version(0, 7)
BACKEND_SET_1_0 = Version(0, 8)
BACKEND_SET_1_1 = Version(0, 9)
MULTI_BACKEND = Version(1)
UNIVERSAL = Version(2)
MODELPLUG = Version(3)
NEWEST = MODELPLUG

_LEGACY = "legacy"

VERSIONS = (
    FamilyVersion(version=FLAT, label=_LEGACY, summary="Keywords of llama-cpp-python in one flat object."),
    FamilyVersion(
        version=APPLICATION, label=_LEGACY, summary="Settings of the application: window, theme, generation."
    ),
    FamilyVersion(
        version=FIRST,
        label=_LEGACY,
        summary="A backend, its layers and context, and folders, in one flat object.",
    ),
    FamilyVersion(
        version=INTERFACE, label=_LEGACY, summary="What the preferences window sets, with dots in the names."
    ),
    FamilyVersion(version=PRESET, label=_LEGACY, summary="A named configuration, `preset_NAME.json`."),
    FamilyVersion(
        version=SIDE_FILE,
        label=_LEGACY,
        summary="What the program noted of models and runs; no configuration.",
    ),
    FamilyVersion(
        version=HOME, label=_LEGACY, summary="An installation: a folder of configurations, models and logs."
    ),
    FamilyVersion(
        version=BACKEND_SET_1_0, label=_LEGACY, summary="`BackendConfigSet` 1.0.0: a section per backend."
    ),
    FamilyVersion(
        version=BACKEND_SET_1_1,
        label=_LEGACY,
        summary="`BackendConfigSet` 1.1.0: `backend_configs`, `preferences`.",
    ),
    FamilyVersion(
        version=MULTI_BACKEND, summary="The multi-backend configuration: `preferred_backend`, `backends`."
    ),
    FamilyVersion(
        version=UNIVERSAL, summary="The universal loader's: `backends.default`, `ui`, `paths`, `addons`."
    ),
    FamilyVersion(version=MODELPLUG, label="modelplug", summary='modelplug\'s own settings, `"version": 1`.'),
)
"""Every layout there was, oldest first."""
