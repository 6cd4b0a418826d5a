"""What the parts of the step to 1.0 work on together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug_migrators.resnet_bk.configs.values import read

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.resnet_bk.configs.bases import Layers

__all__ = ["Work"]


@attrs.frozen
class Work:
    """A configuration on its way to 1.0.

    Attributes:
        editor: The configuration.
        root: Where in the file it begins.
        layers: What it said at first, and those it takes over from.
    """

    editor: ConfigEditor
    root: KeyPath
    layers: Layers

    def number(self, name: str) -> Any:
        """What a setting of training was at first, by any of its names; None if it can't be used."""
        return as_training(self.layers.said(name), name)

    @property
    def micro_batch(self) -> int | None:
        """Sequences that are computed at once, as versions before 1.0 counted them."""
        batch = self.number("batch_size")
        return batch if isinstance(batch, int) else None


def as_training(value: Any, name: str) -> Any:
    """A value as a setting of training takes it; None if it can't.

    Args:
        value: What the file holds.
        name: The setting's name in 1.0.
    """
    found = read(value, "training", name)
    return None if found.refused else found.value
