"""Decides which plugins may be loaded: by flags, lists in the environment, and the user's own file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import attrs

from modelplug.plugins.discovery import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelplug.plugins.records import PluginRecord

__all__ = ["Switches", "nearest"]

ALLOW_VARIABLE = "MODELPLUG_PLUGINS"
DENY_VARIABLE = "MODELPLUG_DISABLE_PLUGINS"


def nearest(name: str, records: Iterable[PluginRecord]) -> list[str]:
    """The names and distributions of plugins that `name` may have been meant to be, best first."""
    names = dict.fromkeys(text for record in records for text in (record.name, record.distribution) if text)
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def _matches(name: str, record: PluginRecord) -> bool:
    return name in {"*", record.name} or (
        bool(record.distribution) and normalised(name) == normalised(record.distribution)
    )


@attrs.frozen(kw_only=True)
class Switches:
    """Everything that can keep a plugin from being loaded.

    Attributes:
        no_plugins: Whether `--no-plugins` was given.
        only: The plugins this process is for; None if for all.
        allow: From `MODELPLUG_PLUGINS`; empty if not set.
        deny: From `MODELPLUG_DISABLE_PLUGINS`.
        disabled: From `modelplug plugins disable`.
    """

    no_plugins: bool = False
    only: tuple[str, ...] | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        no_plugins: bool,
        only: Iterable[str] | None,
        disabled: Iterable[str],
    ) -> Switches:
        """The switches as `environ` and the caller set them."""
        return cls(
            no_plugins=no_plugins,
            only=None if only is None else tuple(only),
            allow=_names(environ.get(ALLOW_VARIABLE)),
            deny=_names(environ.get(DENY_VARIABLE)),
            disabled=tuple(disabled),
        )

    def why_off(self, record: PluginRecord) -> tuple[str, str] | None:
        """Why this plugin may not be loaded and how to change that; None if it may."""
        if self.no_plugins:
            return "--no-plugins was given", "Run the command without --no-plugins."
        if self.only is not None and not any(_matches(name, record) for name in self.only):
            return f"this process is only for {', '.join(self.only) or 'no plugin'}", ""
        if self.allow and not any(_matches(name, record) for name in self.allow):
            return (
                f"{ALLOW_VARIABLE} does not name it",
                f"Add {record.name} to {ALLOW_VARIABLE}, or unset it.",
            )
        if any(_matches(name, record) for name in self.deny):
            return f"{DENY_VARIABLE} names it", f"Take {record.name} out of {DENY_VARIABLE}."
        if any(_matches(name, record) for name in self.disabled):
            return "it was disabled", f"modelplug plugins enable {record.name}"
        return None

    def unknown(self, records: Iterable[PluginRecord]) -> list[tuple[str, str]]:
        """The names that match no plugin, each with a sentence that says where it stands and what is near."""
        records = tuple(records)
        lists = (
            (self.only or (), "the list of plugins of this process", "Check its spelling."),
            (self.allow, ALLOW_VARIABLE, f"Correct or remove it in {ALLOW_VARIABLE}."),
            (self.deny, DENY_VARIABLE, f"Correct or remove it in {DENY_VARIABLE}."),
            (self.disabled, "the list of disabled plugins", ""),
        )
        found = []
        for names, where, advice in lists:
            for name in names:
                if name == "*" or any(_matches(name, record) for record in records):
                    continue
                near = nearest(name, records)
                hint = f"Did you mean {' or '.join(near)}? " if near else ""
                todo = advice or f"To forget it: modelplug plugins enable {name}"
                found.append((name, f"{where} names {name!r}, but no such plugin is installed. {hint}{todo}"))
        return found
