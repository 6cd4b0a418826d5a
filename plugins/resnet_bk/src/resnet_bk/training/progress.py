"""Shows how training gets on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol, TextIO

import attrs

__all__ = ["PlainProgress", "Progress", "RichProgress", "SilentProgress", "StepReport", "make_progress"]


@attrs.frozen(kw_only=True)
class StepReport:
    """Where training stands.

    Attributes:
        step: Updates so far.
        steps: Updates in all.
        epoch: Passes over the data that were finished.
        loss: The mean training loss since the last report, in nats per token.
        learning_rate: At the last update.
        gradient_norm: At the last update, before clipping.
        tokens_per_second: Since the last report.
        seconds_left: How long the rest will take; None if that is not known yet.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds_left: float | None

    def text(self) -> str:
        """The report in one line."""
        left = "" if self.seconds_left is None else f"  {_clock(self.seconds_left)} left"
        return (
            f"loss {self.loss:.4f}  rate {self.learning_rate:.2e}  gradient {self.gradient_norm:.3g}"
            f"  {self.tokens_per_second:,.0f} tokens/s{left}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class Progress(Protocol):
    """What shows progress."""

    def report(self, report: StepReport) -> None:
        """Show where training stands."""
        ...

    def note(self, text: str) -> None:
        """Show something that happened."""
        ...

    def close(self) -> None:
        """End, with everything shown."""
        ...


class SilentProgress:
    """Shows nothing."""

    def report(self, report: StepReport) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class PlainProgress:
    """Writes a line for every report, as logs want it.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def report(self, report: StepReport) -> None:
        """Write a line."""
        self.note(f"step {report.step}/{report.steps}  {report.text()}")

    def note(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Everything is written already."""


class RichProgress:
    """Shows a bar, with notes above it.

    Args:
        console: A console of rich; None makes one on standard error.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=console or Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None)

    def report(self, report: StepReport) -> None:
        """Move the bar."""
        self._bar.update(self._task, total=report.steps, completed=report.step, description=report.text())

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def make_progress() -> Progress:
    """A bar if standard error is a terminal, plain lines otherwise."""
    return RichProgress() if sys.stderr.isatty() else PlainProgress()
