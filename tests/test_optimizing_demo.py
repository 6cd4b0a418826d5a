"""The search for better settings, with a real engine."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec

import pytest

from modelplug import ConfigOptimizer, Runtime
from modelplug.cli.main import main

pytestmark = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("modelplug_llamacpp") is None,
    reason="llama.cpp is not installed",
)


def test_the_demo_on_llama_cpp() -> None:
    """Whatever it finds is at least as fast as what is in force, by its own evidence, and can be undone."""
    runtime = Runtime()
    optimizer = ConfigOptimizer(runtime)
    proposal = optimizer.optimize_for_hardware("demo", backend="llamacpp", budget=25.0)
    path = runtime.config.path

    assert proposal.tried[0].settings == {}
    if not proposal.tried[0].rounds:  # on a busy machine, the time may not suffice for a single round
        assert not proposal.improves
        assert f"the {proposal.budget:.0f} s were " in proposal.reason
    else:
        assert {left_out.what for left_out in proposal.left_out} >= {"kv_type", "context_size"}
    assert not any(tried.error for tried in proposal.tried)
    assert json.loads(json.dumps(proposal.to_dict()))["model"]["name"] == "demo"
    assert not path.exists()
    if proposal.improves:
        assert proposal.gain is not None
        assert proposal.gain.low > 0
        assert proposal.report is not None
        assert [candidate.status for candidate in proposal.report.candidates][:1] != ["failed"]
    undo = optimizer.apply_config(proposal).undo
    assert path.exists() == proposal.improves
    for line in undo:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line)[1:])
        assert not ended.value.code
    assert Runtime().config.section("llamacpp") == {}
    runtime.history.close()
