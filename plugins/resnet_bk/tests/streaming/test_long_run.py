"""A million tokens through a model of a million parameters, in a process that does nothing else."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="only here a program learns its own peak of memory"),
]
SCRIPT = Path(__file__).with_name("long_run.py")
MILLION = 1_000_000


def found_by(task: str, tokens: int, folder: Path) -> dict[str, Any]:
    """What the script says of so many tokens, of which few are frequent and many rare."""
    dice = numpy.random.default_rng(0)
    numpy.save(folder / "tokens.npy", (dice.zipf(1.3, tokens) % 1024).astype(numpy.uint16))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), task, str(folder / "tokens.npy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(json.dumps(found))  # the figures, for whoever runs it by hand
    return found


def test_a_million_tokens_fit_into_a_gigabyte(tmp_path: Path) -> None:
    """Evaluating them takes less than 1 GB, all libraries included, and a tenth of them takes as much.

    The model predicts the whole as well as it predicts the beginning.
    """
    whole = found_by("evaluate", MILLION, tmp_path)
    part = found_by("evaluate", MILLION // 10, tmp_path)

    assert whole["tokens"] == MILLION
    assert abs(math.log(whole["perplexity"] / part["perplexity"])) < 0.1
    assert whole["peak"] < 1_000_000_000
    assert whole["peak"] < 1.1 * part["peak"]


def test_a_hundred_thousand_tokens_are_what_one_pass_says(tmp_path: Path) -> None:
    """The logits of a stream are those of the whole text within 1e-4, whatever the chunks."""
    found = found_by("compare", MILLION // 10, tmp_path)

    assert found["tokens"] == MILLION // 10
    assert max(found["largest_difference"].values()) < 1e-4 < found["difference_without_state"]
