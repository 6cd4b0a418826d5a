"""A checkpoint before 1.0, taken apart: model, states, configuration, counters, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug_migrators.resnet_bk.checkpoints.forms import Form

__all__ = ["OldCheckpoint", "refs_in"]


@attrs.define(kw_only=True)
class OldCheckpoint:
    """What a checkpoint before 1.0 holds.

    Attributes:
        path: The file or folder.
        form: Its shape.
        prefix: What wrappers had put before the names of the model's tensors.
        model: The tensors of the model, by name without the prefix.
        config: The configuration, as far as there is one.
        config_place: What the configuration is called in the account; empty if there is none.
        states: Entry -> the state of an optimizer, a scheduler and the like, with tensors in it.
        random: Entry -> states of random number generators.
        entries: Entry -> everything else.
        classes: Place -> the foreign class of an object that was replaced by its fields.
        carried: Further files of a folder.
        weights: The files of a folder that hold the model.
    """

    path: Path
    form: Form
    prefix: str = ""
    model: dict[str, Ref]
    config: dict[str, Any] = attrs.field(factory=dict)
    config_place: str = ""
    states: dict[str, Any] = attrs.field(factory=dict)
    random: dict[str, Any] = attrs.field(factory=dict)
    entries: dict[str, Any] = attrs.field(factory=dict)
    classes: dict[str, str] = attrs.field(factory=dict)
    carried: tuple[Path, ...] = ()
    weights: tuple[Path, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What is known of the model: the configuration, then its section `model`, then the arguments."""
        parts = (self.entries.get("args"), self.config.get("model"), self.config)
        return {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}

    def refs(self) -> dict[str, Ref]:
        """Every tensor there is, by the name that says where it stands."""
        parts: list[Any] = [self.model, self.states, self.random, self.entries, self.config]
        return {ref.key: ref for part in parts for ref in refs_in(part)}

    def values(self) -> dict[str, Any]:
        """Every plain value there is, by a name that says where it stands."""
        found: dict[str, Any] = {f"{self.config_place}.{name}": value for name, value in self.config.items()}
        for entries in (self.states, self.random, self.entries):
            found.update(entries)
        return found


def refs_in(value: Any) -> Iterator[Ref]:
    """The tensors in a value, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from refs_in(item)
