"""Where every key of the older layouts goes: one table, in the order in which they count.

A file may hold keys of several layouts at once, so that every step carries over whatever it finds. Where two
keys mean the same, the one that stands first in the table counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.gguf_loader.llama import KEYWORDS, SAMPLING, Keyword
from modelplug_migrators.gguf_loader.values import Setting, flag, number, text, texts, whole

if TYPE_CHECKING:
    from modelplug.migration.steps import KeyPath

__all__ = ["ENGINE_KEYS", "RULES", "SECTION", "Rule"]

SECTION = "*"
"""As the first step of a place: the section of the engine that the settings are for."""

_SPECIAL = frozenset({"type_k", "type_v", "f16_kv"})


@attrs.frozen(kw_only=True)
class Rule:
    """Where one key goes.

    Attributes:
        path: The key.
        place: Where it goes: below `SECTION`, or from the root; empty if there is no such setting.
        setting: What values the key took.
        why: Why there is no such setting.
    """

    path: KeyPath
    place: KeyPath = ()
    setting: Setting = attrs.field(factory=lambda: Setting(kind="any"))
    why: str = ""


ENGINE_KEYS: tuple[KeyPath, ...] = (
    ("preferred_backend",),
    ("preferences", "preferred_backend"),
    ("backend.current",),
    ("backend",),
    ("default_backend",),
    ("backend_preference",),
)
"""Keys that name the engine, in the order in which they count."""

_GPU = Setting(
    kind="text",
    choices=("auto", "gpu", "cpu"),
    meanings={
        "gpu": (True, "means that a GPU may be used"),
        "cpu": (False, "means that no GPU is used"),
    },
)
_AUTOMATIC = (None, "leaves it to the program, which null says")
_COUNT = whole(1).meaning({0: _AUTOMATIC, -1: _AUTOMATIC})
_TOP_K = SAMPLING["top_k"].setting
_MAX_TOKENS = SAMPLING["max_tokens"].setting


def _section(name: str, setting: Setting, *keys: str) -> list[Rule]:
    return [Rule(path=(key,), place=(SECTION, name), setting=setting) for key in keys]


def _generation(name: str, setting: Setting, *paths: KeyPath) -> list[Rule]:
    return [Rule(path=path, place=("generation", name), setting=setting) for path in paths]


def _of_keyword(name: str, keyword: Keyword) -> Rule:
    place: KeyPath = ()
    if keyword.place == "model_path":
        place = ("model_path",)
    elif keyword.place.startswith("generation."):
        place = tuple(keyword.place.split("."))
    elif keyword.place:
        place = (SECTION, keyword.place)
    return Rule(path=(name,), place=place, setting=keyword.setting, why=keyword.why)


def _gpu(*keys: str) -> list[Rule]:
    return [Rule(path=(key,), place=("gpu_enabled",), setting=_GPU) for key in keys]


RULES: tuple[Rule, ...] = (
    *_section("gpu_layers", whole(-1), "backend.gpu_layers"),
    *_section("context_size", _COUNT, "backend.context_size"),
    *_section("batch_size", _COUNT, "backend.batch_size"),
    *_gpu("backend.hardware_preference"),
    *(_of_keyword(name, keyword) for name, keyword in KEYWORDS.items() if name not in _SPECIAL),
    *(_of_keyword(name, keyword) for name, keyword in SAMPLING.items()),
    *_section("gpu_layers", whole(-1), "gpu_layers"),
    *_section("context_size", _COUNT, "context_size"),
    *_section("batch_size", _COUNT, "batch_size"),
    *_section("threads", _COUNT, "threads", "thread_count", "cpu_threads"),
    *(
        Rule(path=(key,), place=("gpu_enabled",), setting=flag())
        for key in ("gpu_enabled", "use_gpu", "use_hardware_acceleration")
    ),
    *_gpu("processing_unit"),
    *_generation("temperature", number(0, 100), ("model_parameters", "temperature")),
    *_generation("max_tokens", _MAX_TOKENS, ("model_parameters", "max_tokens")),
    *_generation("top_p", number(0, 1), ("model_parameters", "top_p")),
    *_generation("top_k", _TOP_K, ("model_parameters", "top_k")),
    *_generation("repeat_penalty", number(0.01, 10), ("model_parameters", "repeat_penalty")),
    *_generation("stop", texts(nullable=True), ("model_parameters", "stop_sequences")),
    *_generation("temperature", number(0, 100), ("ai_settings", "temperature"), ("default_temperature",)),
    *_generation("max_tokens", _MAX_TOKENS, ("ai_settings", "max_tokens"), ("default_max_tokens",)),
    *_generation("top_p", number(0, 1), ("ai_settings", "top_p")),
    *_generation("top_k", _TOP_K, ("ai_settings", "top_k")),
    *_generation("repeat_penalty", number(0.01, 10), ("ai_settings", "repeat_penalty")),
    Rule(path=("default_model_dir",), place=("model_directory",), setting=text()),
)
"""Every key with a place of its own, in the order in which they count."""
