"""Choosing: every verdict has a reason, evidence decides, and the user's word comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from attrs import validators
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.backends.select import BackendSelector
from modelplug.backends.types import BackendSettings, Estimate
from modelplug.errors import DoesNotFitError, NothingSuitableError, UsageError

if TYPE_CHECKING:
    from modelplug.backends.types import Candidate


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """A backend's own settings."""

    use_mmap: bool = True
    kv_type: str = "f16"
    rope: float = attrs.field(default=1.0, validator=validators.gt(0))


def choose(kit: Any, *reports: Any, model: Any = None, wishes: Any = None, **environment: Any) -> Any:
    """The recommendation for a model on a machine with these engines."""
    selector = BackendSelector(kit.runtime(*reports, **environment))
    return selector.get_recommendation(model or kit.model(), **(wishes or {}))


def verdicts(recommendation: Any) -> dict[str, Candidate]:
    """The candidates by name."""
    return {candidate.backend: candidate for candidate in recommendation.candidates}


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
    recommendation = choose(kit, kit.report(**changes))

    assert recommendation.backend == ""
    assert recommendation.plans == ()
    assert verdicts(recommendation)["engine"].reason == expected
    assert expected in recommendation.reason


def test_what_only_the_engine_knows_does_not_rule_it_out(kit: Any) -> None:
    """An architecture list of None, or a model that names no architecture, leaves it to the engine."""
    assert choose(kit, kit.report(architectures=None)).backend == "engine"
    nameless = attrs.evolve(kit.model(), architecture=None)
    assert choose(kit, kit.report(architectures=frozenset({"falcon"})), model=nameless).backend == "engine"


def test_nothing_that_is_no_model_is_run(kit: Any) -> None:
    """An adapter is ruled out for every backend, whatever it says of itself."""
    adapter = attrs.evolve(kit.model(), kind="adapter")
    recommendation = choose(kit, kit.report(), model=adapter)

    assert recommendation.backend == ""
    assert "adapter" in verdicts(recommendation)["engine"].reason


def test_a_backend_that_was_switched_off_is_used_only_by_name(kit: Any) -> None:
    """`enabled: false` keeps selection away; asking for the backend itself is stronger."""
    off = {"backends.engine.enabled": False}

    assert choose(kit, kit.report(), settings=off).backend == ""
    assert "switched off" in verdicts(choose(kit, kit.report(), settings=off))["engine"].reason
    assert choose(kit, kit.report(), settings=off, wishes={"backend": "engine"}).backend == "engine"


def test_a_wrong_value_in_the_settings_rules_out_that_backend_only(kit: Any) -> None:
    """The reason names the key, and the others are still candidates."""
    wrong = {"backends.engine.gpu_layers": "many"}
    recommendation = choose(kit, kit.report(), kit.report("other"), settings=wrong)

    assert recommendation.backend == "other"
    assert "backends.engine.gpu_layers" in verdicts(recommendation)["engine"].reason


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

    assert choose(kit, report, system=machine).backend == ""
    recommendation = choose(kit, report, model=llamafile, system=machine)
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
    recommendation = choose(
        kit,
        kit.report(state="gpu"),
        kit.report("other"),
        system=kit.system(kit.device()),
        settings={"backends": {"engine": wrong}},
        kinds={"engine": EngineSettings},
    )

    assert recommendation.backend == "other"
    assert expected in verdicts(recommendation)["engine"].reason


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


# Wishes --------------------------------------------------------------------------------------------------


def test_an_explicit_backend_is_the_only_candidate(kit: Any) -> None:
    """Plans of other backends are not even offered as fallbacks."""
    recommendation = choose(kit, kit.report("one", priority=9), kit.report("two"), wishes={"backend": "two"})

    assert [c.backend for c in recommendation.candidates] == ["two"]
    assert {plan.backend for plan in recommendation.plans} == {"two"}
    assert recommendation.reason.startswith("it was asked for; ")


def test_gpu_layers_without_a_gpu_are_refused_and_not_dropped(kit: Any) -> None:
    """Who asks for the GPU does not get the CPU without a word."""
    recommendation = choose(kit, kit.report(cause="built without CUDA"), wishes={"gpu_layers": 20})

    assert recommendation.backend == ""
    assert "20 layers on the GPU were asked for" in recommendation.reason
    assert "built without CUDA" in recommendation.reason
    assert choose(kit, kit.report(), wishes={"gpu_layers": 0}).backend == "engine"


def test_gpu_layers_in_the_settings_do_not_keep_a_model_from_the_cpu(kit: Any) -> None:
    """The value that the guide puts into every file still lets a machine without a GPU run the model."""
    recommendation = choose(kit, kit.report(), settings={"backends.engine.gpu_layers": 35})

    assert recommendation.backend == "engine"
    assert recommendation.plans[0].gpu_layers == 0
    assert recommendation.plans[0].settings["gpu_layers"] == 0


def test_gpu_enabled_false_keeps_to_the_cpu_unless_this_call_says_otherwise(kit: Any) -> None:
    """The settings may keep an engine off the GPU; asking for layers in the call is stronger."""
    off = {"backends": {"engine": {"gpu_enabled": False, "gpu_layers": 20}}}
    machine = kit.system(kit.device())

    kept = choose(kit, kit.report(state="gpu"), system=machine, settings=off)
    assert [plan.device for plan in kept.plans] == ["cpu"]

    asked = choose(kit, kit.report(state="gpu"), system=machine, settings=off, wishes={"gpu_layers": 5})
    assert (asked.plans[0].device, asked.plans[0].gpu_layers) == ("cuda:0", 5)


def test_a_setting_that_an_engine_ignores_is_refused_with_what_to_use_instead(kit: Any) -> None:
    """An engine that has no such knob is ruled out when somebody turns it."""
    deaf = kit.report(ignored_settings={"context_size": "the model's own context is used: leave it out"})
    asked = choose(kit, deaf, kit.report("other"), wishes={"context_size": 1024})

    assert asked.backend == "other"
    expected = "it can't honour context_size: the model's own context is used: leave it out"
    assert verdicts(asked)["engine"].reason == expected
    assert verdicts(choose(kit, deaf))["engine"].suitable


def test_embeddings_are_wanted_from_an_engine_that_has_them(kit: Any) -> None:
    """A model that is loaded for its embeddings goes to an engine that declares them."""
    reports = [kit.report("deaf", priority=9), kit.report("able", capabilities=frozenset({"embeddings"}))]
    selector = BackendSelector(kit.runtime(*reports))

    assert selector.select(kit.model()).backend == "deaf"
    recommendation = selector.select(kit.model(), embeddings=True)
    assert recommendation.backend == "able"
    assert verdicts(recommendation)["deaf"].reason == "it gives no embeddings, which were asked for"


def test_own_settings_reach_the_plan_and_unknown_ones_rule_a_backend_out(kit: Any) -> None:
    """A setting that only one engine has chooses that engine."""
    kinds = {"engine": EngineSettings}
    asked = choose(
        kit, kit.report(), kit.report("other", priority=9), kinds=kinds, wishes={"settings": {"rope": 2.0}}
    )

    assert asked.backend == "engine"
    assert asked.plans[0].settings == {"rope": 2.0}
    assert asked.settings["rope"] == 2.0
    assert "rope" in verdicts(asked)["other"].reason

    wrong = choose(kit, kit.report(), kinds=kinds, wishes={"settings": {"rope": -1.0}})
    assert "rope" in wrong.reason


def test_settings_of_the_file_are_joined_with_those_of_the_call(kit: Any) -> None:
    """The call wins name by name, defaults of the class are left to the plugin."""
    recommendation = choose(
        kit,
        kit.report(),
        kinds={"engine": EngineSettings},
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
        choose(kit, kit.report(), wishes=wrong)


def test_neutral_settings_may_be_given_among_the_backends_own(kit: Any) -> None:
    """`settings={"gpu_layers": 0}` means what `gpu_layers=0` means."""
    machine = kit.system(kit.device())
    recommendation = choose(
        kit, kit.report(state="gpu"), system=machine, wishes={"settings": {"gpu_layers": 0}}
    )

    assert [plan.device for plan in recommendation.plans] == ["cpu"]


# Order ---------------------------------------------------------------------------------------------------


def test_priority_decides_between_equals_and_name_between_equal_priorities(kit: Any) -> None:
    """Without any evidence the order is fixed, whatever order plugins were found in."""
    reports = [kit.report("b", priority=5), kit.report("c", priority=5), kit.report("a", priority=1)]

    for order in (reports, reports[::-1]):
        recommendation = choose(kit, *order)
        assert [c.backend for c in recommendation.candidates] == ["b", "c", "a"]
    assert [c.backend for c in recommendation.alternatives] == ["c", "a"]


def test_an_engine_on_the_gpu_comes_before_one_on_the_cpu(kit: Any) -> None:
    """Where the model runs matters more than the priority a plugin claims."""
    machine = kit.system(kit.device())
    recommendation = choose(kit, kit.report("cpu", priority=100), kit.report("gpu", "gpu"), system=machine)

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

    recommendation = choose(kit, *reports, settings=order, speeds=speeds)

    assert [c.backend for c in recommendation.candidates] == ["d", "c", "b", "a"]
    assert "it is the preferred backend in the settings" in recommendation.reason


def test_a_preferred_backend_that_can_not_run_the_model_is_passed_over_aloud(kit: Any) -> None:
    """The reason says why the user's choice was not taken."""
    recommendation = choose(
        kit,
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
    recommendation = choose(kit, *reports, speeds=clear)
    assert recommendation.backend == "second"
    assert isinstance(recommendation.performance_estimate, Estimate)
    assert recommendation.performance_estimate.basis == "measured"

    unclear = {("first", "cpu", 0): [10.0, 22.0], ("second", "cpu", 0): [25.0, 12.0]}
    assert choose(kit, *reports, speeds=unclear).backend == "first"

    one_sided = {("second", "cpu", 0): [1e6] * 8}
    assert choose(kit, *reports, speeds=one_sided).backend == "first"


# Estimates and settings ----------------------------------------------------------------------------------


def test_the_estimate_says_what_it_rests_on(kit: Any) -> None:
    """Predicted from bandwidth without history, and unknown on a GPU that never ran the model."""
    predicted = choose(kit, kit.report())
    assert isinstance(predicted.performance_estimate, Estimate)
    assert str(predicted.performance_estimate).endswith("predicted)")

    on_gpu = choose(kit, kit.report(state="gpu"), system=kit.system(kit.device()))
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
    recommendation = choose(kit, kit.report(), wishes={"threads": 3, "context_size": 1024})

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
    recommendation = choose(kit, *reports, **environment)

    suitable = [candidate.suitable for candidate in recommendation.candidates]
    assert suitable == sorted(suitable, reverse=True)
    assert {c.backend for c in recommendation.candidates} == set(made)
    assert all(candidate.reason for candidate in recommendation.candidates)
    assert bool(recommendation.backend) == any(suitable)
    if recommendation.backend:
        assert verdicts(recommendation)[recommendation.backend].suitable
        assert recommendation.plans[0].backend == recommendation.backend
        if preferred in made and verdicts(recommendation)[preferred].suitable:
            assert recommendation.backend == preferred
    shuffle.shuffle(reports)
    assert choose(kit, *reports, **environment) == recommendation
