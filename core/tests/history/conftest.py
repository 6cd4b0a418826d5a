"""What tests of the history share: a store of their own, and files that are models."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from modelplug.history import HistoryStore
from modelplug.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Directories of the test's own."""
    return Paths.from_environment({"MODELPLUG_HOME": str(tmp_path / "home")})


@pytest.fixture
def store(paths: Paths) -> HistoryStore:
    """A store whose database does not exist yet."""
    return HistoryStore(paths.history_file, paths=paths)


@pytest.fixture
def gguf() -> Callable[..., Path]:
    """Writes the smallest file that is a model: one tensor of 32 numbers, and a name that makes it unique."""
    return tiny_gguf


def tiny_gguf(path: Path, name: str = "", architecture: str = "llama", kind: str = "model") -> Path:
    """Write a model of one tensor.

    Args:
        path: Where to write it.
        name: Its name for itself; the same names give the same content.
        architecture: Its architecture.
        kind: `general.type`.
    """

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = {"general.architecture": architecture, "general.name": name, "general.type": kind}
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries))
    for key, value in entries.items():
        head += text(key) + struct.pack("<I", 8) + text(value)
    head += text("token_embd.weight") + struct.pack("<IQQIQ", 2, 8, 4, 0, 0)
    head += b"\0" * (-len(head) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\0" * 128)
    return path
