"""The Triton kernel passes the tests of the others, in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# Interpreting is slow: no test that calls an operation hundreds of times.
TESTED = {
    "test_against_inverses.py": "",
    "test_causality.py": "",
    "test_gradients.py": "many_chunks or agrees or extreme",
    "test_streaming.py": "",
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this is that process")
@pytest.mark.parametrize("name", TESTED)
def test_in_the_interpreter(name: str, tmp_path: Path) -> None:
    """The same test functions, in a process in which Triton interprets its kernels on the CPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [str(FOLDER / name), "-k", TESTED[name]]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "TMPDIR": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
