"""Choosing: what the user asks for is done or refused, and never dropped."""

from __future__ import annotations

from typing import Any

import pytest

from modelplug.backends.select import BackendSelector
from modelplug.errors import UsageError


def test_an_explicit_backend_is_the_only_candidate(kit: Any) -> None:
    """Plans of other backends are not even offered as fallbacks."""
    recommendation = kit.choose(kit.report("one", priority=9), kit.report("two"), wishes={"backend": "two"})

    assert [c.backend for c in recommendation.candidates] == ["two"]
    assert {plan.backend for plan in recommendation.plans} == {"two"}
    assert recommendation.reason.startswith("it was asked for; ")


def test_gpu_layers_without_a_gpu_are_refused_and_not_dropped(kit: Any) -> None:
    """Who asks for the GPU does not get the CPU without a word."""
    recommendation = kit.choose(kit.report(cause="built without CUDA"), wishes={"gpu_layers": 20})

    assert recommendation.backend == ""
    assert "20 layers on the GPU were asked for" in recommendation.reason
    assert "built without CUDA" in recommendation.reason
    assert kit.choose(kit.report(), wishes={"gpu_layers": 0}).backend == "engine"


def test_gpu_layers_in_the_settings_do_not_keep_a_model_from_the_cpu(kit: Any) -> None:
    """The value that the guide puts into every file still lets a machine without a GPU run the model."""
    recommendation = kit.choose(kit.report(), settings={"backends.engine.gpu_layers": 35})

    assert recommendation.backend == "engine"
    assert recommendation.plans[0].gpu_layers == 0
    assert recommendation.plans[0].settings["gpu_layers"] == 0


def test_gpu_enabled_false_keeps_to_the_cpu_unless_this_call_says_otherwise(kit: Any) -> None:
    """The settings may keep an engine off the GPU; asking for layers in the call is stronger."""
    off = {"backends": {"engine": {"gpu_enabled": False, "gpu_layers": 20}}}
    machine = kit.system(kit.device())

    kept = kit.choose(kit.report(state="gpu"), system=machine, settings=off)
    assert [plan.device for plan in kept.plans] == ["cpu"]

    asked = kit.choose(kit.report(state="gpu"), system=machine, settings=off, wishes={"gpu_layers": 5})
    assert (asked.plans[0].device, asked.plans[0].gpu_layers) == ("cuda:0", 5)


def test_a_setting_that_an_engine_ignores_is_refused_with_what_to_use_instead(kit: Any) -> None:
    """An engine that has no such knob is ruled out when somebody turns it."""
    deaf = kit.report(ignored_settings={"context_size": "the model's own context is used: leave it out"})
    asked = kit.choose(deaf, kit.report("other"), wishes={"context_size": 1024})

    assert asked.backend == "other"
    expected = "it can't honour context_size: the model's own context is used: leave it out"
    assert kit.verdicts(asked)["engine"].reason == expected
    assert kit.verdicts(kit.choose(deaf))["engine"].suitable


def test_embeddings_are_wanted_from_an_engine_that_has_them(kit: Any) -> None:
    """A model that is loaded for its embeddings goes to an engine that declares them."""
    reports = [kit.report("deaf", priority=9), kit.report("able", capabilities=frozenset({"embeddings"}))]
    selector = BackendSelector(kit.runtime(*reports))

    assert selector.select(kit.model()).backend == "deaf"
    recommendation = selector.select(kit.model(), embeddings=True)
    assert recommendation.backend == "able"
    assert kit.verdicts(recommendation)["deaf"].reason == "it gives no embeddings, which were asked for"


def test_own_settings_reach_the_plan_and_unknown_ones_rule_a_backend_out(kit: Any) -> None:
    """A setting that only one engine has chooses that engine."""
    kinds = {"engine": kit.EngineSettings}
    asked = kit.choose(
        kit.report(), kit.report("other", priority=9), kinds=kinds, wishes={"settings": {"rope": 2.0}}
    )

    assert asked.backend == "engine"
    assert asked.plans[0].settings == {"rope": 2.0}
    assert asked.settings["rope"] == 2.0
    assert "rope" in kit.verdicts(asked)["other"].reason

    wrong = kit.choose(kit.report(), kinds=kinds, wishes={"settings": {"rope": -1.0}})
    assert "rope" in wrong.reason


def test_settings_of_the_file_are_joined_with_those_of_the_call(kit: Any) -> None:
    """The call wins name by name, defaults of the class are left to the plugin."""
    recommendation = kit.choose(
        kit.report(),
        kinds={"engine": kit.EngineSettings},
        settings={"backends": {"engine": {"use_mmap": False, "rope": 3.0, "threads": 3}}},
        wishes={"settings": {"rope": 2.0}, "context_size": 1000},
    )

    plan = recommendation.plans[0]
    assert plan.settings == {"use_mmap": False, "rope": 2.0, "threads": 3, "context_size": 1000}
    assert (plan.threads, plan.context_size) == (3, 1000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpu_layers": -2},
        {"context_size": 0},
        {"threads": 0},
        {"batch_size": True},
        {"context_size": "4k"},
        {"context_size": 1, "settings": {"context_size": 2}},
    ],
)
def test_numbers_that_mean_nothing_are_bad_usage(kit: Any, wrong: dict[str, Any]) -> None:
    """They are refused before anything is judged."""
    with pytest.raises(UsageError):
        kit.choose(kit.report(), wishes=wrong)


def test_neutral_settings_may_be_given_among_the_backends_own(kit: Any) -> None:
    """`settings={"gpu_layers": 0}` means what `gpu_layers=0` means."""
    machine = kit.system(kit.device())
    recommendation = kit.choose(
        kit.report(state="gpu"), system=machine, wishes={"settings": {"gpu_layers": 0}}
    )

    assert [plan.device for plan in recommendation.plans] == ["cpu"]
