"""What tests of transactions share: a way to import their helpers, a scene, and a fast folder."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[4])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

from core.tests.migration.transactions.scene import Scene  # noqa: E402  found by the lines above

IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A scene that is built and untouched."""
    scene = Scene(tmp_path / "scene")
    scene.build()
    return scene


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of renames there cost no disk."""
    if not IN_MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="modelplug-test-", dir=IN_MEMORY))
    yield folder
    shutil.rmtree(folder)
