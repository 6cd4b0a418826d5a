"""The script that measures what quantising costs, on a text that takes no time."""

from __future__ import annotations

import importlib
from pathlib import Path

import click.testing
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def test_it_measures_every_way_and_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every way has a line, 16 bits lose next to nothing, and fewer bits make the model smaller."""
    monkeypatch.syspath_prepend(str(BENCH))
    script = importlib.import_module("quantization")
    monkeypatch.setattr(script, "ROUNDS", 1)
    monkeypatch.setattr(script, "STEPS", 2)
    text = tmp_path / "text.txt"
    text.write_text(
        "\n".join(f"ROMEO: the {number} of them, and {number * 7} more." for number in range(120))
    )
    result = click.testing.CliRunner().invoke(script.main, ["--text", str(text), "--train", "1"])

    assert result.exit_code == 0, result.output
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.output.splitlines() if line]
    rows = {row[0]: row[1:] for row in cells}
    loss = {name: float(row[0]) for name, row in rows.items() if "bits" in name or "float32" in name}
    size = {name: int(rows[name][1].replace(",", "")) for name in script.ways()}
    assert abs(loss["16 bits"] - loss["float32"]) < 1e-3
    assert size["4 bits, groups of 128"] < size["8 bits"] < size["16 bits"] < size["float32"]
    assert "1 steps with 4 bits" in loss
