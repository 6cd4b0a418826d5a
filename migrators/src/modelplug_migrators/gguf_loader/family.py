"""The family `gguf-loader` and its steps, for the hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Family, Migration
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.choice import BY_DEFAULT, OPTION
from modelplug_migrators.gguf_loader.detection import detect_config
from modelplug_migrators.gguf_loader.home.detecting import detect_home
from modelplug_migrators.gguf_loader.home.locations import homes
from modelplug_migrators.gguf_loader.steps.application import ApplicationToMultiBackend
from modelplug_migrators.gguf_loader.steps.backend_set_1_0 import BackendSet10To11
from modelplug_migrators.gguf_loader.steps.backend_set_1_1 import BackendSet11ToMultiBackend
from modelplug_migrators.gguf_loader.steps.first import FirstToMultiBackend
from modelplug_migrators.gguf_loader.steps.flat import FlatToMultiBackend
from modelplug_migrators.gguf_loader.steps.home import COPY_MODELS, HomeToModelplug
from modelplug_migrators.gguf_loader.steps.interface import InterfaceToMultiBackend
from modelplug_migrators.gguf_loader.steps.multi_backend import MultiBackendToUniversal
from modelplug_migrators.gguf_loader.steps.preset import PresetToMultiBackend
from modelplug_migrators.gguf_loader.steps.side_file import SideFile
from modelplug_migrators.gguf_loader.steps.universal import UniversalToModelplug
from modelplug_migrators.gguf_loader.windows_registry import EFFECT, RegistryHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.candidates import Candidate
    from modelplug.migration.steps import Detection

__all__ = ["FAMILY", "STEPS"]


def _detect(candidate: Candidate) -> Iterator[Detection]:
    """What a file or folder is, if it is this family's."""
    yield from detect_home(candidate) if candidate.is_folder else detect_config(candidate)


FAMILY = Family(
    name=layouts.NAME,
    title="GGUF Loader, LLM Toolkit, and flat files of llama-cpp-python keywords",
    versions=layouts.VERSIONS,
    detect=_detect,
    oldest=layouts.FLAT,
    homes=homes,
    effects={EFFECT: RegistryHandler()},
    options={
        OPTION: "Which backend the settings of a one-backend file are for: ctransformers, llamacpp, "
        "llamafile or transformers. Without it: the one the file names, else "
        f"{BY_DEFAULT}, unless only llamacpp can run the model.",
        COPY_MODELS: "Whether the models of an installation are copied into the backup: yes or no. "
        "Without it, no: the backup records where they are, and what they hold.",
    },
)

STEPS: tuple[type[Migration], ...] = (
    FlatToMultiBackend,
    ApplicationToMultiBackend,
    FirstToMultiBackend,
    InterfaceToMultiBackend,
    PresetToMultiBackend,
    SideFile,
    HomeToModelplug,
    BackendSet10To11,
    BackendSet11ToMultiBackend,
    MultiBackendToUniversal,
    UniversalToModelplug,
)
