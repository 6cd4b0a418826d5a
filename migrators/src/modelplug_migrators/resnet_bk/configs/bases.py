"""Configurations that take over from another one what they do not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from modelplug_migrators.resnet_bk.configs.places import look_up
from modelplug_migrators.resnet_bk.configs.schema import BASE, MARK

__all__ = ["Layers"]

_DEEPEST = 10


@attrs.frozen
class Layers:
    """A configuration with those it takes over from, as they were when they were read.

    Attributes:
        values: What each says: its own first, the last base last.
    """

    values: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(
        cls, values: Mapping[str, Any], read: Callable[[str], Any], *, counted_whole: bool = False
    ) -> Layers:
        """The layers of a configuration; bases that can't be read are left out, and circles come to an end.

        Args:
            values: What it says itself.
            read: Gives what another configuration holds, by its path from the folder of this one.
            counted_whole: Whether batches of bases are to be counted as 1.0 does, and not as versions before.
        """
        layers, folder = [values], ""
        while len(layers) <= _DEEPEST and isinstance(name := layers[-1].get(BASE), str):
            found = read(folder + name)
            if not isinstance(found, Mapping):
                break
            folder = f"{folder}{name}".rpartition("/")[0]
            folder += "/" if folder else ""
            layers.append(found if counted_whole else _counted_as_before(found))
        return cls(tuple(layers))

    def said(self, name: str) -> Any:
        """What is said of a setting, by any of its names; None if nothing is.

        Args:
            name: One of the setting's names.
        """
        found = (look_up(values, name) for values in self.values)
        return next((value for value in found if value is not None), None)


def _counted_as_before(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration with its batches counted as versions before 1.0 did: the part computed at once."""
    training = values.get("training")
    if MARK not in values or not isinstance(training, Mapping):
        return values
    batch, parts = training.get("batch_size"), training.get("accumulation")
    if type(batch) is not int or type(parts) is not int or parts < 1:
        return values
    return {**values, "training": {**training, "batch_size": batch // parts}}
