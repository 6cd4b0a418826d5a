"""What a memory optimizer did, and how much memory there is."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["MemoryReport", "Saving", "StepMemory", "in_units"]


@attrs.frozen(kw_only=True)
class Saving:
    """One way to save memory.

    Attributes:
        name: The option.
        state: `off`, `done`, `nothing to do` or `to do`.
        reason: Why, or what was done.
    """

    name: str
    state: Literal["off", "done", "nothing to do", "to do"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.state}{f' ({self.reason})' if self.reason else ''}"


@attrs.frozen(kw_only=True)
class StepMemory:
    """The memory of one training step, counted while it ran.

    Attributes:
        device: The kind of device it was counted on.
        saved: The most bytes that were saved in its memory for the backward pass at one time. What recomputed
            layers save while they are recomputed is not in it.
        moved: Bytes of those that were moved elsewhere.
        peak: The most bytes of all tensors that the step made at one time, above what there was before it.
    """

    device: str
    saved: int
    moved: int
    peak: int

    def __str__(self) -> str:
        moved = f", moved {in_units(self.moved)}" if self.moved else ""
        return (
            f"saved for backward {in_units(self.saved)}{moved}, peak {in_units(self.peak)} on {self.device}"
        )


@attrs.frozen(kw_only=True)
class MemoryReport:
    """What was done to a model, and the bytes it takes in this process.

    Attributes:
        savings: Every way to save memory, whether it was asked for or not.
        parameters: Bytes of parameters, wherever they are; those shared count once.
        parameters_elsewhere: How many of those wait in a file, or in the CPU's memory for an accelerator.
        gradients: Bytes of gradients.
        optimizer_state: Bytes of the state of the optimizers that were made here.
        before: The last step that was measured before the model was optimized; None if there was none.
        after: The last one after it.
    """

    savings: tuple[Saving, ...]
    parameters: int
    parameters_elsewhere: int
    gradients: int
    optimizer_state: int
    before: StepMemory | None
    after: StepMemory | None

    def __getitem__(self, name: str) -> Saving:
        """What came of one option."""
        for saving in self.savings:
            if saving.name == name:
                return saving
        raise KeyError(name)

    def __str__(self) -> str:
        elsewhere = f" ({in_units(self.parameters_elsewhere)} elsewhere)" if self.parameters_elsewhere else ""
        lines = [
            *map(str, self.savings),
            f"parameters {in_units(self.parameters)}{elsewhere}",
            f"gradients {in_units(self.gradients)}, optimizer state {in_units(self.optimizer_state)}",
        ]
        if self.before is not None:
            lines.append(f"a step before: {self.before}")
        if self.after is not None:
            lines.append(f"a step after: {self.after}")
        return "\n".join(lines)


def in_units(count: int) -> str:
    """Bytes as people read them."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
