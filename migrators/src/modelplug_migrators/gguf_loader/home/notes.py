"""The notes that go into the backup: what models and settings there were, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug.migration.candidates import Candidate
from modelplug_migrators.gguf_loader.engines import ENGINES
from modelplug_migrators.gguf_loader.leftovers import KNOWN, PRIVATE, SCHEMA
from modelplug_migrators.gguf_loader.llama import KEYWORDS, SAMPLING
from modelplug_migrators.gguf_loader.rules import ENGINE_KEYS, RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from modelplug_migrators.gguf_loader.home.contents import HomeContents
    from modelplug_migrators.gguf_loader.home.models import KnownPath

__all__ = ["current_setup"]

_DEEPEST = 10
# Only settings that are known are written out: what else a file holds may be a password.
_SHOWN = frozenset(
    {
        *SCHEMA, *KNOWN, *KEYWORDS, *SAMPLING, *(str(key[-1]) for key in ENGINE_KEYS),
        *(str(rule.path[-1]) for rule in RULES),
        *(name for settings in ENGINES.values() for name in settings),
        "custom_fallback_order", "gpu_preference", "supported_formats", "name", "description", "created_at",
    }
) - PRIVATE  # fmt: skip


def current_setup(contents: HomeContents, models: Iterable[KnownPath]) -> bytes:
    """The models and settings there are, as text.

    Args:
        contents: The installation.
        models: The models it knows.
    """
    lines = ["Current models:"]
    lines += sorted(f"  {model.path}{'' if model.exists else ' (missing)'}" for model in models)
    for config in contents.configs:
        lines += ["", f"Settings in {config.path.relative_to(contents.folder).as_posix()}:"]
        lines += [f"  {line}" for line in _settings(config.path)]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _settings(path: Path) -> Iterator[str]:
    for place, value in _leaves(Candidate(path).mapping, ()):
        shown = _is_plain(value) and (place[-1] in _SHOWN or isinstance(value, bool))
        yield f"{spell(place)} = {shorten(value, 200)}" if shown else f"{spell(place)} (not shown)"


def _is_plain(value: Any) -> bool:
    """Whether a value can be written on a line."""
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(item, (dict, list)) for item in items)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value and len(path) < _DEEPEST:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif path:
        yield path, value
