"""What is known of each plugin: plain records."""

from __future__ import annotations

import enum
from typing import Any

import attrs

__all__ = ["HookResult", "MissingPlugin", "PluginRecord", "PluginState"]


class PluginState(str, enum.Enum):
    """How far a plugin got.

    `found` means that its metadata was read and nothing was imported yet; `disabled`, `incompatible` and
    `failed` plugins are left alone; a `ready` one is asked.
    """

    FOUND = "found"
    DISABLED = "disabled"
    INCOMPATIBLE = "incompatible"
    FAILED = "failed"
    READY = "ready"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class PluginRecord:
    """One plugin: where it comes from, how it fares, and what to do about it.

    Attributes:
        name: The entry point's name. If two distributions use the same name, that of the one left out has
            `@` and its distribution appended.
        distribution: The distribution's name; empty if unknown.
        version: The distribution's version; empty if unknown.
        module: What the entry point names: `package.module` or `package.module:object`.
        source: Where it was installed from, as pip would be told: a directory, `-e` and a directory, a file
            or `NAME @ git+URL`; empty if from an index.
        state: How far it got.
        hookspec_version: The contract it was written for; None as long as that isn't known.
        hooks: The hooks it implements, sorted; known once it is loaded.
        cause: Why it is not ready, or what else is wrong with it.
        remedy: What to type or change.
        warnings: What was reported against it without stopping it, in full sentences.
        traceback: The traceback of its failure, for `--debug`; empty otherwise.
        import_seconds: How long its import took; None if it was not imported.
    """

    name: str
    distribution: str = ""
    version: str = ""
    module: str = ""
    source: str = ""
    state: PluginState = PluginState.FOUND
    hookspec_version: str | None = None
    hooks: tuple[str, ...] = ()
    cause: str = ""
    remedy: str = ""
    warnings: tuple[str, ...] = ()
    traceback: str = attrs.field(default="", repr=False)
    import_seconds: float | None = None

    @property
    def origin(self) -> str:
        """The distribution and its version, as one text for people."""
        return f"{self.distribution} {self.version}".strip() or self.module

    @property
    def status(self) -> str:
        """The state as the verb of a sentence."""
        return "failed" if self.state is PluginState.FAILED else f"is {self.state}"

    @property
    def broken(self) -> bool:
        """Whether it could not be used although nobody switched it off."""
        return self.state in (PluginState.INCOMPATIBLE, PluginState.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain data that `json.dumps` accepts."""
        plain = attrs.asdict(self)
        plain["state"] = self.state.value
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


@attrs.frozen
class HookResult:
    """What one plugin answered.

    Attributes:
        plugin: The plugin's name.
        value: Its answer, checked against the hook's type; an iterable has become a tuple.
    """

    plugin: str
    value: Any


@attrs.frozen(kw_only=True)
class MissingPlugin:
    """A plugin that worked in this environment once and is gone, for example after an upgrade of a tool.

    Attributes:
        name: The entry point's name.
        distribution: The distribution it came in.
        version: The version last seen.
        install: What to type to have it back.
    """

    name: str
    distribution: str
    version: str
    install: str
