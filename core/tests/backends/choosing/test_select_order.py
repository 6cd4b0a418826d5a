"""Choosing: evidence decides the order, and the user's word comes first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.backends.select import BackendSelector
from modelplug.backends.types import Estimate

# Order ---------------------------------------------------------------------------------------------------


def test_priority_decides_between_equals_and_name_between_equal_priorities(kit: Any) -> None:
    """Without any evidence the order is fixed, whatever order plugins were found in."""
    reports = [kit.report("b", priority=5), kit.report("c", priority=5), kit.report("a", priority=1)]

    for order in (reports, reports[::-1]):
        recommendation = kit.choose(*order)
        assert [c.backend for c in recommendation.candidates] == ["b", "c", "a"]
    assert [c.backend for c in recommendation.alternatives] == ["c", "a"]


def test_an_engine_on_the_gpu_comes_before_one_on_the_cpu(kit: Any) -> None:
    """Where the model runs matters more than the priority a plugin claims."""
    machine = kit.system(kit.device())
    recommendation = kit.choose(kit.report("cpu", priority=100), kit.report("gpu", "gpu"), system=machine)

    assert recommendation.backend == "gpu"
    assert [plan.backend for plan in recommendation.plans][-1] == "cpu"


def test_the_users_order_comes_before_everything_measured(kit: Any) -> None:
    """preferred_backend, then the order for this format, then the general order."""
    reports = [kit.report(name) for name in ("a", "b", "c", "d")]
    order = {
        "preferred_backend": "d",
        "fallback_order": ["b", "c"],
        "fallback_order_by_format": {"gguf": ["c"], "safetensors": ["a"]},
    }
    speeds = {("a", "cpu", 0): [100.0] * 8, ("b", "cpu", 0): [1.0] * 8}

    recommendation = kit.choose(*reports, settings=order, speeds=speeds)

    assert [c.backend for c in recommendation.candidates] == ["d", "c", "b", "a"]
    assert "it is the preferred backend in the settings" in recommendation.reason


def test_a_preferred_backend_that_can_not_run_the_model_is_passed_over_aloud(kit: Any) -> None:
    """The reason says why the user's choice was not taken."""
    recommendation = kit.choose(
        kit.report("mine", formats=("ggml",)),
        kit.report("other"),
        settings={"preferred_backend": "mine"},
    )

    assert recommendation.backend == "other"
    assert (
        "The preferred backend mine is passed over: it does not load the format gguf" in recommendation.reason
    )


def test_a_backend_measured_to_be_clearly_faster_overtakes(kit: Any) -> None:
    """Intervals that do not overlap are evidence; those that do are not, and neither is a prediction."""
    reports = [kit.report("first", priority=9), kit.report("second")]

    clear = {("first", "cpu", 0): [10.0] * 8, ("second", "cpu", 0): [20.0] * 8}
    recommendation = kit.choose(*reports, speeds=clear)
    assert recommendation.backend == "second"
    assert isinstance(recommendation.performance_estimate, Estimate)
    assert recommendation.performance_estimate.basis == "measured"

    unclear = {("first", "cpu", 0): [10.0, 22.0], ("second", "cpu", 0): [25.0, 12.0]}
    assert kit.choose(*reports, speeds=unclear).backend == "first"

    one_sided = {("second", "cpu", 0): [1e6] * 8}
    assert kit.choose(*reports, speeds=one_sided).backend == "first"


# Estimates and settings ----------------------------------------------------------------------------------


def test_the_estimate_says_what_it_rests_on(kit: Any) -> None:
    """Predicted from bandwidth without history, and unknown on a GPU that never ran the model."""
    predicted = kit.choose(kit.report())
    assert isinstance(predicted.performance_estimate, Estimate)
    assert str(predicted.performance_estimate).endswith("predicted)")

    on_gpu = kit.choose(kit.report(state="gpu"), system=kit.system(kit.device()))
    assert on_gpu.performance_estimate == "unknown: this model has not run on this GPU yet"


def test_the_bandwidth_is_measured_when_a_prediction_needs_it(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recommending measures it once, also on a full disk; loading does not pay for that."""
    from modelplug.system import bandwidth

    calls: list[Any] = []

    def measure(*arguments: Any) -> bandwidth.Bandwidth:
        calls.append(arguments)
        return bandwidth.Bandwidth(
            bytes_per_second=20e9, threads=1, buffer_bytes=1, seconds=0.0, measured_at=""
        )

    def store(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bandwidth, "measure", measure)
    monkeypatch.setattr(bandwidth, "store", store)
    selector = BackendSelector(kit.runtime(kit.report(), system=kit.system(bandwidth=None)))

    assert isinstance(selector.select(kit.model()).performance_estimate, str)
    assert calls == []
    for _ in range(2):
        estimate = selector.get_recommendation(kit.model()).performance_estimate
        assert isinstance(estimate, Estimate)
    assert len(calls) == 1


def test_settings_of_a_recommendation_are_those_of_its_first_plan(kit: Any) -> None:
    """What would be used is in one mapping, ready to be written down."""
    recommendation = kit.choose(kit.report(), wishes={"threads": 3, "context_size": 1024})

    assert recommendation.settings == {
        "threads": 3,
        "context_size": 1024,
        "device": "cpu",
        "gpu_layers": 0,
    }


def test_without_a_model_the_best_backend_of_the_machine_is_recommended(kit: Any) -> None:
    """The guide calls `get_recommendation()` and prints three attributes; each says something."""
    machine = kit.system(kit.device())
    selector = BackendSelector(
        kit.runtime(kit.report("cpu", priority=9), kit.report("gpu", "gpu", priority=10), system=machine)
    )
    recommendation = selector.get_recommendation()

    assert recommendation.backend == "gpu"
    assert "works, on cuda:0, cuda:1" in recommendation.reason
    assert "20 tokens/s divided by its size in GB" in str(recommendation.performance_estimate)
    assert recommendation.plans == ()


# Properties ----------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "d"])
report_fields = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["gpu", "cpu", "broken", "not-installed"]),
        "formats": st.sampled_from([("gguf",), ("ggml",), ("gguf", "ggml")]),
        "architectures": st.sampled_from([None, frozenset({"llama"}), frozenset({"falcon"})]),
        "priority": st.integers(0, 3),
    }
)


@settings(max_examples=100, deadline=None)
@given(
    made=st.dictionaries(names, report_fields, max_size=4),
    preferred=st.one_of(st.none(), names),
    order=st.lists(names, max_size=4),
    speeds=st.dictionaries(names, st.lists(st.floats(0.1, 1000), max_size=8), max_size=4),
    shuffle=st.randoms(use_true_random=False),
)
def test_whatever_is_chosen_is_suitable_and_the_choice_is_stable(
    kit: Any, made: dict[str, Any], preferred: str | None, order: list[str], speeds: Any, shuffle: Any
) -> None:
    """The chosen backend is suitable, unsuitable ones come last, and order of discovery does not matter."""
    reports = [kit.report(name, **fields) for name, fields in made.items()]
    environment = {
        "system": kit.system(kit.device()),
        "settings": {"preferred_backend": preferred, "fallback_order": order},
        "speeds": {(name, "cpu", 0): values for name, values in speeds.items()},
    }
    recommendation = kit.choose(*reports, **environment)

    suitable = [candidate.suitable for candidate in recommendation.candidates]
    assert suitable == sorted(suitable, reverse=True)
    assert {c.backend for c in recommendation.candidates} == set(made)
    assert all(candidate.reason for candidate in recommendation.candidates)
    assert bool(recommendation.backend) == any(suitable)
    if recommendation.backend:
        assert kit.verdicts(recommendation)[recommendation.backend].suitable
        assert recommendation.plans[0].backend == recommendation.backend
        if preferred in made and kit.verdicts(recommendation)[preferred].suitable:
            assert recommendation.backend == preferred
    shuffle.shuffle(reports)
    assert kit.choose(*reports, **environment) == recommendation
