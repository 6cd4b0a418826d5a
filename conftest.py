"""What every test of this repository has around it: a home of its own, and a check that it leaves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def leaves_nothing_behind(leak_check: None) -> Iterator[None]:  # noqa: ARG001  for its effect
    """Fail a test that leaks environment variables, processes, threads or temporary files."""
    return


@pytest.fixture(autouse=True)
def own_home(leaves_nothing_behind: None, modelplug_home: Path) -> Path:  # noqa: ARG001  for its effect
    """Keep every test away from the settings and history of whoever runs it."""
    return modelplug_home
