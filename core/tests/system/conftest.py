"""Recorded output, made-up machines and made-up tools for the tests of `modelplug.system`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelplug.system.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """The text of a file below `fixtures/`."""
    return lambda name: (FIXTURES / name).read_text(encoding="utf-8")


class Machine:
    """A made-up Linux machine below a temporary directory: files, tools and environment variables."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.bin = base / "bin"
        self.root.mkdir()
        self.bin.mkdir()
        self.environ: dict[str, str] = {"PATH": str(self.bin)}
        self.modules: set[str] = set()
        self.python: str | None = None
        self.os = "linux"

    def file(self, absolute: str, text: str = "") -> Machine:
        """Put a file where the machine has `absolute`."""
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return self

    def tool(self, name: str, script: str) -> Machine:
        """Put a shell script on the machine's PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return self

    def printer(self, name: str, fixture: str) -> Machine:
        """Put a tool on PATH that prints a recorded file, whatever it is asked."""
        return self.tool(name, f"/bin/cat '{FIXTURES / fixture}'")

    @property
    def host(self) -> Host:
        """The machine as the probes see it."""
        return Host(
            os=self.os,
            root=self.root,
            environ=self.environ,
            python=self.python,
            has_module=lambda name: name in self.modules,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Linux machine with nothing in it."""
    return Machine(tmp_path)
