"""The handshake: whether a plugin's contract version suits this core's."""

from __future__ import annotations

import re

import attrs

__all__ = ["Handshake", "shake_hands"]

_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
ATTRIBUTE = "MODELPLUG_HOOKSPEC_VERSION"


@attrs.frozen
class Handshake:
    """The outcome of comparing two contract versions.

    Attributes:
        version: What the plugin states; None if nothing readable.
        cause: Why they don't suit each other; empty if they do.
        remedy: What to do about it.
    """

    version: str | None
    cause: str = ""
    remedy: str = ""


def shake_hands(stated: object, ours: str, *, distribution: str, upgrade: str) -> Handshake:
    """Whether a plugin that states the contract version `stated` works with the version `ours`.

    Args:
        stated: The value of the plugin's `MODELPLUG_HOOKSPEC_VERSION`; None if it has none.
        ours: The core's own version.
        distribution: The plugin's distribution, for the advice.
        upgrade: The command that upgrades it.
    """
    if stated is None:
        return Handshake(
            None,
            f"it does not say which contract it was written for (no attribute {ATTRIBUTE})",
            f"In the plugin's module, set {ATTRIBUTE} = {ours!r}; as a user, upgrade it: {upgrade}",
        )
    match = _VERSION.fullmatch(stated) if isinstance(stated, str) else None
    if match is None:
        return Handshake(
            None,
            f"its {ATTRIBUTE} is {stated!r}, which is not a 'major.minor' string such as {ours!r}",
            f"Report it to the author of {distribution}, or try a newer version: {upgrade}",
        )
    theirs, own = _pair(match.group()), _pair(ours)
    if theirs[0] < own[0]:
        return Handshake(
            match.group(),
            f"it was written for version {match.group()} of the plugin contract; this modelplug has {ours}",
            f"Upgrade the plugin: {upgrade}",
        )
    if theirs > own:
        return Handshake(
            match.group(),
            f"it needs version {match.group()} of the plugin contract; this modelplug has {ours}",
            "Upgrade modelplug, or install an earlier version of " + distribution,
        )
    return Handshake(match.group())


def _pair(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)
