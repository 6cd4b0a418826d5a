"""The Triton kernel passes the tests of the others, in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# All files of tests that take every kernel. They make their problems smaller where Triton is interpreted.
QUICK = ("test_against_inverses.py", "test_inputs.py")
SLOW = (
    "test_causality.py",
    "test_gradients.py",
    "test_many_chunks.py",
    "test_memory_layout.py",
    "test_streaming.py",
)


def test_no_file_is_forgotten() -> None:
    """Whatever tests take the kernel as an argument are among those below, but for the longest chains."""
    others = set(FOLDER.glob("test_*.py")) - {Path(__file__)}
    taking = {path.name for path in others if "(kernel" in path.read_text(encoding="utf-8")}
    assert taking == {*QUICK, *SLOW}


@pytest.mark.timeout(1200)
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this is that process")
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_in_the_interpreter(name: str, tmp_path: Path) -> None:
    """The same test functions, in a process in which Triton interprets its kernels on the CPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [str(FOLDER / name)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "TMPDIR": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
