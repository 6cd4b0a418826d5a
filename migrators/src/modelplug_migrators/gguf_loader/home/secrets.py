"""Keeps passwords and tokens out of what is carried over: the old file has them, and so has the backup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from modelplug.documents import read_document
from modelplug.migration.account import Fate, KeyFate, spell

if TYPE_CHECKING:
    from modelplug.migration.homes import MigratedConfig

__all__ = ["without_secrets"]

_SECRET = re.compile(r"password|passwd|(?<!max_)tokens?\b|secret|credential|api_?key|email", re.IGNORECASE)
_WHY = "it may hold a password, which has no place in settings; the backup has it"


def without_secrets(config: MigratedConfig) -> tuple[MigratedConfig, tuple[str, ...]]:
    """The configuration without what may be secret among its extras, and the names of what was left out.

    Args:
        config: A migrated configuration.
    """
    extras = config.value.get("extras")
    names = [name for name in extras if _SECRET.search(name)] if isinstance(extras, dict) else []
    if not names:
        return config, ()
    document = read_document(config.data, "json", name=str(config.path))
    for name in names:
        document.tree.remove(("extras", name))
    places = tuple(spell(("extras", name)) for name in names)
    keys = tuple(_left_out(key, places) for key in config.account.keys)
    kept = attrs.evolve(
        config,
        data=document.render(),
        value=document.value,
        account=attrs.evolve(config.account, keys=keys),
        findings=tuple(finding for finding in config.findings if finding.key not in names),
    )
    return kept, tuple(names)


def _left_out(key: KeyFate, places: tuple[str, ...]) -> KeyFate:
    if any(key.target == place or key.target.startswith(f"{place}.") for place in places):
        return attrs.evolve(key, fate=Fate.DROPPED, target="", why=_WHY)
    return key
