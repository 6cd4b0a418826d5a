"""Fuzzing inspection: the tool finds what it should, and repeats what it found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from core.tests.formats import format_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.errors import ModelplugError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from types import ModuleType

TOOL = Path(__file__).resolve().parents[3] / "tools" / "fuzz_inspect.py"


@pytest.fixture(name="tool")
def _tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("fuzz_inspect_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_files_of_every_format(tool: Any, tmp_path: Path) -> None:
    """Thousands of damaged files end in an answer or an error of our own, none slowly."""
    session = tool.Session(20, tmp_path)
    session.run(4000)
    assert session.failures == []
    assert sum(session.outcomes.values()) == 4000
    assert session.slowest < tool.LONGEST
    for outcome in ("ModelFileError", "TruncatedModelError", "NotAModelError", "accepted as gguf"):
        assert session.outcomes[outcome] > 0


def test_the_session_notices_a_foreign_exception(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that is not our own counts as a failure, and its input is kept."""
    (tmp_path / "files").mkdir()
    session = tool.Session(1, tmp_path / "files")

    def broken(path: Path) -> None:
        raise KeyError(path)

    monkeypatch.setattr(tool, "inspect", broken)
    session.run(3)
    assert len(session.failures) == 3
    assert "KeyError" in session.failures[0]["fault"]
    assert Path(session.failures[0]["kept"]).exists()


def test_the_same_seed_damages_the_same_bytes(tool: Any) -> None:
    """A session can be repeated."""
    import random

    content = samples.llama_gguf()
    assert tool.mutate(content, random.Random("1/2")) == tool.mutate(content, random.Random("1/2"))
    assert tool.mutate(content, random.Random("1/2")) != tool.mutate(content, random.Random("1/3"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the size of the address space")
def test_the_memory_limit_is_real() -> None:
    """Under the session's limit an allocation of 32 MiB succeeds and one of 100 MiB does not."""
    code = (
        f"import runpy; tool = runpy.run_path({str(TOOL)!r}); tool['limit_memory']()\n"
        "kept = bytearray(32 << 20)\n"
        "try: bytearray(100 << 20)\n"
        "except MemoryError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(
        [b"", b"GGUF\x03\0\0\0", b"tjgg", b"lmgg", b"PK\x03\x04", b"\x80\x02", b"MZ", b"algg"]
    ),
    rest=st.binary(max_size=300),
)
def test_any_bytes(head: bytes, rest: bytes, tmp_path: Path) -> None:
    """Whatever a file holds, inspection answers or raises an error of our own."""
    path = tmp_path / "any.bin"
    path.write_bytes(head + rest)
    try:
        info = inspect(path)
    except ModelplugError as error:
        assert error.what  # noqa: PT017  both outcomes are right
    else:
        assert info.size == len(head + rest)
