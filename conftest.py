"""What every test of this repository has around it: a home of its own, and a check that it leaves nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("modelplug", deadline=None)
hypothesis.settings.load_profile("modelplug")


@pytest.fixture(autouse=True)
def leaves_nothing_behind(leak_check: None) -> Iterator[None]:  # noqa: ARG001  for its effect
    """Fail a test that leaks environment variables, processes, threads or temporary files."""
    return


@pytest.fixture(autouse=True)
def own_home(leaves_nothing_behind: None, modelplug_home: Path) -> Path:  # noqa: ARG001  for its effect
    """Keep every test away from the settings and history of whoever runs it."""
    return modelplug_home


@pytest.fixture
def in_time() -> Callable[[float, Callable[[], Any]], Any]:
    """Calls what must be done within so many seconds, and gives its result.

    It may try a few times: that the machine had other work to do is no fault of what is tested.
    """

    def call(seconds: float, function: Callable[[], Any]) -> Any:
        times = []
        for _ in range(5):
            started = time.monotonic()
            result = function()
            times.append(time.monotonic() - started)
            if times[-1] < seconds:
                return result
        pytest.fail(f"it took {', '.join(f'{taken:.2f}' for taken in times)} s, every time over {seconds} s")

    return call
