"""How long the program takes before it does anything."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROUNDS = 15
MODELPLUG = str(Path(sys.executable).with_name("modelplug"))


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(_out: Path) -> list[dict[str, Any]]:
    """Compare `--version` and `--help` with importing click, in turn; time `backends` by itself."""
    click = [sys.executable, "-c", "import click"]
    records: list[dict[str, Any]] = []
    for option in ("--version", "--help"):
        seconds([MODELPLUG, option])
        ratios = [seconds([MODELPLUG, option]) / seconds(click) for _ in range(ROUNDS)]
        records.append(
            {
                "name": f"modelplug {option} over python -c 'import click'",
                "value": statistics.median(ratios),
                "unit": "times",
                "threshold": 2.5,
                "better": "lower",
                "samples": ratios,
            }
        )
    seconds([MODELPLUG, "backends"])
    samples = [seconds([MODELPLUG, "backends"]) for _ in range(ROUNDS)]
    records.append(
        {
            "name": "modelplug backends with all plugins",
            "value": statistics.median(samples),
            "unit": "s",
            "threshold": 0.5,
            "better": "lower",
            "samples": samples,
        }
    )
    return records
