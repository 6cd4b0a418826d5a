"""Choosing: what can't run a model is ruled out with its reason, and failing says what to do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from modelplug.backends.select import BackendSelector
from modelplug.errors import DoesNotFitError, NothingSuitableError, UsageError

# Ruling out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "not-installed", "cause": "no such package"}, "not installed: no such package"),
        ({"state": "broken", "cause": "no AVX2"}, "broken: no AVX2"),
        ({"formats": ("safetensors",)}, "it does not load the format gguf (it loads safetensors)"),
        (
            {"architectures": frozenset({"falcon", "mpt"})},
            "engine engine 1.0 does not know the architecture llama (it knows falcon, mpt)",
        ),
        (
            {"tensor_types": frozenset({"F32", "Q4_0"})},
            "engine engine 1.0 does not know the tensor type Q4_K in this model",
        ),
        ({"rejects": (("byte_order", "little", "only big-endian files"),)}, "only big-endian files"),
        ({"rejects": (("layers", "32", "no more than 31 layers"),)}, "no more than 31 layers"),
    ],
)
def test_a_backend_that_can_not_run_a_model_says_why(
    kit: Any, changes: dict[str, Any], expected: str
) -> None:
    """State, format, architecture, tensor types and the plugin's own limits each give a reason."""
    recommendation = kit.choose(kit.report(**changes))

    assert recommendation.backend == ""
    assert recommendation.plans == ()
    assert kit.verdicts(recommendation)["engine"].reason == expected
    assert expected in recommendation.reason


def test_what_only_the_engine_knows_does_not_rule_it_out(kit: Any) -> None:
    """An architecture list of None, or a model that names no architecture, leaves it to the engine."""
    assert kit.choose(kit.report(architectures=None)).backend == "engine"
    nameless = attrs.evolve(kit.model(), architecture=None)
    assert kit.choose(kit.report(architectures=frozenset({"falcon"})), model=nameless).backend == "engine"


def test_nothing_that_is_no_model_is_run(kit: Any) -> None:
    """An adapter is ruled out for every backend, whatever it says of itself."""
    adapter = attrs.evolve(kit.model(), kind="adapter")
    recommendation = kit.choose(kit.report(), model=adapter)

    assert recommendation.backend == ""
    assert "adapter" in kit.verdicts(recommendation)["engine"].reason


def test_a_backend_that_was_switched_off_is_used_only_by_name(kit: Any) -> None:
    """`enabled: false` keeps selection away; asking for the backend itself is stronger."""
    off = {"backends.engine.enabled": False}

    assert kit.choose(kit.report(), settings=off).backend == ""
    assert "switched off" in kit.verdicts(kit.choose(kit.report(), settings=off))["engine"].reason
    assert kit.choose(kit.report(), settings=off, wishes={"backend": "engine"}).backend == "engine"


def test_a_wrong_value_in_the_settings_rules_out_that_backend_only(kit: Any) -> None:
    """The reason names the key, and the others are still candidates."""
    wrong = {"backends.engine.gpu_layers": "many"}
    recommendation = kit.choose(kit.report(), kit.report("other"), settings=wrong)

    assert recommendation.backend == "other"
    assert "backends.engine.gpu_layers" in kit.verdicts(recommendation)["engine"].reason


def test_a_model_that_brings_its_engine_needs_none_installed(kit: Any) -> None:
    """A llamafile runs by itself, on the GPU too, although the program llamafile is not installed."""
    report = kit.report(
        state="not-installed",
        cause="no program",
        formats=("gguf", "llamafile"),
        standalone_formats=("llamafile",),
        devices=("cuda:0",),
        gpu_offload="layers",
    )
    llamafile = attrs.evolve(kit.model(), format="llamafile")
    machine = kit.system(kit.device())

    assert kit.choose(report, system=machine).backend == ""
    recommendation = kit.choose(report, model=llamafile, system=machine)
    assert recommendation.backend == "engine"
    assert recommendation.plans[0].device == "cuda:0"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"gpu_layers": -5}, "backends.engine.gpu_layers = -5"),
        ({"context_size": 0}, "backends.engine.context_size = 0"),
        ({"kv_type": "f17"}, "a setting of backends.engine makes no sense: "),
    ],
)
def test_a_value_in_the_settings_that_makes_no_sense_rules_out_that_backend_only(
    kit: Any, wrong: dict[str, Any], expected: str
) -> None:
    """Also one of the right type, which only the planner can judge, must not stop everything."""
    recommendation = kit.choose(
        kit.report(state="gpu"),
        kit.report("other"),
        system=kit.system(kit.device()),
        settings={"backends": {"engine": wrong}},
        kinds={"engine": kit.EngineSettings},
    )

    assert recommendation.backend == "other"
    assert expected in kit.verdicts(recommendation)["engine"].reason


# Failing -------------------------------------------------------------------------------------------------


def test_loading_fails_with_a_reason_per_backend_and_what_to_install(kit: Any) -> None:
    """`select` raises with exit status 3, and advises the missing backend that loads this format."""
    absent = kit.report("absent", "not-installed", cause="no package", install="pip install absent")
    useless = kit.report("useless", "not-installed", formats=("ggml",), install="pip install useless")
    broken = kit.report("narrow", formats=("safetensors",))
    selector = BackendSelector(kit.runtime(absent, useless, broken))

    with pytest.raises(NothingSuitableError) as caught:
        selector.select(kit.model())

    assert caught.value.exit_code == 3
    assert set(caught.value.reasons) == {"absent", "useless", "narrow"}
    assert "seven.gguf (gguf, llama, Q4_K)" in caught.value.what
    assert caught.value.advice == "To get absent: pip install absent"


def test_what_was_asked_for_is_to_be_corrected_before_anything_is_installed(kit: Any) -> None:
    """Where only an option keeps an installed engine from the model, the advice is about the option."""
    absent = kit.report("absent", "not-installed", cause="no package", install="pip install absent")
    selector = BackendSelector(kit.runtime(kit.report("engine"), absent))

    with pytest.raises(NothingSuitableError) as caught:
        selector.select(kit.model(), gpu_layers=5)

    assert "leave out what was asked for (gpu_layers); engine can run it without" in caught.value.advice
    assert "pip install" not in caught.value.advice
    assert caught.value.why.startswith("engine: ")
    assert caught.value.why.endswith("; not installed: absent")


def test_the_backend_made_for_an_architecture_is_advised_first(kit: Any) -> None:
    """Of two that are absent, the one that names the architecture helps more than one that may know it."""
    some = kit.report("some", "not-installed", install="pip install some", priority=90)
    made = kit.report("made", "not-installed", install="pip install made", architectures=frozenset({"rare"}))
    selector = BackendSelector(kit.runtime(some, made))

    with pytest.raises(NothingSuitableError) as rare:
        selector.select(kit.model(architecture="rare"))
    with pytest.raises(NothingSuitableError) as usual:
        selector.select(kit.model(architecture="llama"))

    assert rare.value.advice == "To get made: pip install made"
    assert usual.value.advice == "To get some: pip install some"


def test_a_remedy_that_is_a_sentence_is_given_as_it_is(kit: Any) -> None:
    """Only a command needs to be told what it is for."""
    off = kit.report(
        "engine", "broken", cause="it is disabled", install="Run the command without --no-plugins."
    )

    with pytest.raises(NothingSuitableError) as caught:
        BackendSelector(kit.runtime(off)).select(kit.model())

    assert caught.value.advice == "Run the command without --no-plugins."


def test_without_a_model_the_reason_does_not_speak_of_one(kit: Any) -> None:
    """Two engines that work: the general question is decided by priority."""
    selector = BackendSelector(kit.runtime(kit.report("one", priority=2), kit.report("two", priority=1)))

    recommendation = selector.get_recommendation()

    assert recommendation.backend == "one"
    assert "highest priority" in recommendation.reason
    assert "model" not in recommendation.reason


def test_a_setting_that_keeps_the_engine_from_the_model_is_to_be_corrected(kit: Any) -> None:
    """An engine that is switched off in the settings is not answered with the advice to install another."""
    absent = kit.report("absent", "not-installed", cause="no package", install="pip install absent")
    settings = {"backends": {"engine": {"enabled": False}}}
    selector = BackendSelector(kit.runtime(kit.report("engine"), absent, settings=settings))

    with pytest.raises(NothingSuitableError) as caught:
        selector.select(kit.model())

    assert caught.value.advice.startswith("engine is installed")
    assert "config set backends.engine.enabled true" in caught.value.why


def test_too_little_memory_is_an_error_of_its_own(kit: Any) -> None:
    """If a backend could run the model with more memory, that is what the error says, in bytes too."""
    selector = BackendSelector(kit.runtime(kit.report(), system=kit.system(available=kit.GIB)))

    with pytest.raises(DoesNotFitError) as caught:
        selector.select(kit.model(), context_size=4096)

    assert caught.value.exit_code == 1
    assert caught.value.available == kit.GIB
    assert caught.value.needed > caught.value.available
    assert "--context-size" in caught.value.advice

    forced = selector.select(kit.model(), force=True)
    assert forced.backend == "engine"


def test_an_unknown_backend_is_answered_with_the_nearest(kit: Any) -> None:
    """A misspelt name is bad usage, not a reason to choose another."""
    selector = BackendSelector(kit.runtime(kit.report("llamacpp"), kit.report("other")))

    with pytest.raises(UsageError, match="no backend named 'llamacp'") as caught:
        selector.get_recommendation(kit.model(), backend="llamacp")

    assert "Did you mean 'llamacpp'?" in caught.value.advice


def test_recommending_does_not_fail_where_loading_would(kit: Any) -> None:
    """The recommendation of nothing has an empty name, and `failure` makes the error from it."""
    selector = BackendSelector(kit.runtime(kit.report(formats=("ggml",))))
    recommendation = selector.get_recommendation(kit.model())

    assert recommendation.backend == ""
    assert not any(candidate.suitable for candidate in recommendation.candidates)
    assert isinstance(selector.failure(kit.model(), recommendation), NothingSuitableError)
