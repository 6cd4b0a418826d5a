"""A wheel carries the compiled kernels where a compiler is, and is pure Python where none is."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

PROJECT = Path(__file__).parents[2]
COMPILER = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def build(target: Path, **environment: str) -> Path:
    """The wheel that the project's sources give, built from a copy of them."""
    sources = target / "sources"
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "tests", "bench")
    shutil.copytree(PROJECT, sources, ignore=ignored)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=sources,
        env={**os.environ, "TMPDIR": str(target), **environment},
        check=True,
        capture_output=True,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
def test_with_a_compiler_the_wheel_has_the_library(tmp_path: Path) -> None:
    """Its tag names the platform and no Python version; the library loads and knows its processor."""
    wheel = build(tmp_path, RESNET_BK_NATIVE="require")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if "resolvent_kernels" in n)
        library = ctypes.CDLL(archive.extract(name, tmp_path))
        assert not any(n.endswith((".c", ".h")) for n in archive.namelist())
    assert library.resolvent_level() in {0, 1, 2}
    assert library.resolvent_causal_f32_baseline


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("environment", [{"RESNET_BK_NATIVE": "off"}, {"CC": "no-such-compiler"}])
def test_without_one_it_is_pure_python(tmp_path: Path, environment: dict[str, str]) -> None:
    """No library, and a wheel for any platform."""
    wheel = build(tmp_path, **environment)
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not any(".so" in n or ".dylib" in n for n in archive.namelist())


@pytest.mark.slow
@pytest.mark.integration
def test_a_demanded_compiler_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """RESNET_BK_NATIVE=require does not build a slower wheel without a word."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(tmp_path, RESNET_BK_NATIVE="require", CC="no-such-compiler")
    assert b"there is no C compiler" in caught.value.stderr
