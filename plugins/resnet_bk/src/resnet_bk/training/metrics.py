"""Keeps what was measured in training: JSON lines, and TensorBoard's files if they are wanted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from modelplug.atomic import write_atomically
from resnet_bk.training.errors import TrainingError

__all__ = ["MetricsLog", "TensorBoardLog", "read_metrics"]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a file of metrics; a last line that was cut off is left out.

    Args:
        path: The file; one that does not exist has no records.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines]


class MetricsLog:
    """One line of JSON for every record.

    Args:
        path: The file.
        step: Records of later steps are removed: what was done there is done again.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        self.go_back(step)

    def go_back(self, step: int) -> None:
        """Remove the records of later steps."""
        kept = [record for record in read_metrics(self._path) if record["step"] <= step]
        write_atomically(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a record."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")

    def close(self) -> None:
        """Everything is written already."""


class TensorBoardLog:
    """The same numbers as curves for TensorBoard.

    Args:
        folder: Where its files go.
        step: Curves of later steps are hidden: what was done there is done again.

    Raises:
        TrainingError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise TrainingError(
                "TensorBoard's files can't be written",
                why="tensorboard is not installed",
                advice="`pip install tensorboard`, or train without it; metrics.jsonl has the same numbers.",
            )
        self._folder = folder
        self._writer: Any = None
        self.go_back(step)

    def go_back(self, step: int) -> None:
        """Hide the curves of later steps."""
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is waiting, and end."""
        if self._writer is not None:
            self._writer.close()
