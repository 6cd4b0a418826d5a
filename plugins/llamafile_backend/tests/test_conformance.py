"""The llamafile plugin keeps the contract that modelplug has with every backend, whichever server answers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelplug.testing import BackendConformance

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parent / "fake_llamafile" / "program.py"


@pytest.fixture(scope="class")
def _program_on_path(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Puts a program of the class's dialect where the plugin looks first, in the host and in its workers."""
    folder = tmp_path_factory.mktemp("bin")
    command = shlex.join([sys.executable, str(PROGRAM), "--fake", f"{request.cls.dialect}:"])
    (folder / "llamafile").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (folder / "llamafile").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.mark.usefixtures("_program_on_path")
class TestTodaysServer(BackendConformance):
    """Every clause, with the server of llamafile 0.10 and later."""

    backend = "llamafile"
    context_size = 2048
    dialect = "modern"


@pytest.mark.usefixtures("_program_on_path")
class TestFirstServer(BackendConformance):
    """Every clause, with the server of llamafile up to 0.9."""

    backend = "llamafile"
    context_size = 2048
    dialect = "v1"


@pytest.mark.usefixtures("_program_on_path")
class TestSecondServer(BackendConformance):
    """Every clause, with the second server of llamafile up to 0.9."""

    backend = "llamafile"
    context_size = 2048
    dialect = "v1"
    settings = {"server": "v2"}  # noqa: RUF012  read by the kit, never changed
    # It honours the default of `top_k` and no other value, which a set of names can't say: that the defaults
    # work is in test_llamafile_generate.py.
    test_default_parameters_are_honoured = None  # type: ignore[assignment]
