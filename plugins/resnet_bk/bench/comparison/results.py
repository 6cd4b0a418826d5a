"""Results of long benchmarks in a JSON file, written after every finished run and taken up again."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import torch
from filelock import FileLock

from modelplug.atomic import write_atomically

__all__ = ["FOLDER", "Results", "machine"]

FOLDER = Path(__file__).resolve().parents[4] / "docs" / "results"
_LIBRARIES = ("torch", "transformers", "mambapy", "tokenizers", "modelplug-resnet-bk")


def machine(device: str = "cpu") -> dict[str, Any]:
    """What ran the benchmark: versions, processor, threads, device and the command."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU",
        "python": platform.python_version(),
        "processor": names[0] if names else platform.processor(),
        "processors": len(names) or None,
        "threads": torch.get_num_threads(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


class Results:
    """A file of finished runs, into which several processes may write.

    Args:
        path: The file; made with the first run.
        settings: What all runs have in common. A file made with others is refused.
        device: Where the runs are computed.

    Attributes:
        runs: The figures of each finished run by its name.

    Raises:
        UsageError: The file holds runs made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any], device: str = "cpu") -> None:
        self.path = path
        self._settings = settings
        self._here = machine(device)
        self.runs: dict[str, dict[str, Any]] = self._content()["runs"]

    def _content(self) -> dict[str, Any]:
        """What the file holds now."""
        if not self.path.exists():
            return {"settings": self._settings, "machines": [], "runs": {}}
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        if found["settings"] != self._settings:
            raise click.UsageError(
                f"{self.path} holds runs with other settings ({found['settings']}, now {self._settings}). "
                "Name another file with --out, or delete that one."
            )
        return found

    def once(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The figures of a run: those in the file, or else those of running it now, which are then saved."""
        if name not in self.runs:
            self.put(name, run())
        return self.runs[name]

    def put(self, name: str, figures: dict[str, Any]) -> None:
        """Save the figures of a run in place of any before, and print them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            content = self._content()
            if self._here not in content["machines"]:
                content["machines"].append(self._here)
            content["runs"][name] = figures
            write_atomically(self.path, json.dumps(content, indent=1) + "\n")
        self.runs.clear()
        self.runs.update(content["runs"])
        shown = {key: value for key, value in figures.items() if not isinstance(value, (list, dict))}
        click.echo(f"{name}: {json.dumps(shown)}")
