"""What the log file keeps of failures to load."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelplug import Runtime
from modelplug.backends import api
from modelplug.errors import BackendError


def test_a_failed_load_is_found_in_the_log(misbehaving: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The log has the plan, the cause and the engine's last words, and the terminal gets nothing of it."""
    runtime = Runtime()
    with pytest.raises(BackendError):
        api.load("demo", backend="misbehaving", fault="sigsegv", runtime=runtime)
    (line,) = (runtime.paths.logs / "modelplug.log").read_text("utf-8").splitlines()
    event = json.loads(line)

    assert event["plan"]["backend"] == "misbehaving"
    assert event["error"] == "WorkerCrashedError"
    assert (event["cause"], event["signal_name"]) == ("crash", "SIGSEGV")
    assert capfd.readouterr().err == ""
