"""The search for better settings: what it tries, what it believes, and what it leaves alone."""

from __future__ import annotations

import json
import math
import random
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from modelplug import BackendReport, BackendSettings, BackendState, ConfigOptimizer, Runtime
from modelplug.backends.inspection import inspected
from modelplug.backends.types import LoadPlan
from modelplug.benchmark.optimizing.confirmation import Confirmation, is_gain, rounds_for_evidence
from modelplug.benchmark.optimizing.goals import GOALS, choose_sizes, pilot_sizes
from modelplug.benchmark.optimizing.space import SearchSpace, search_space, spelled
from modelplug.errors import BackendError, UsageError

CRASH = BackendError(
    "the engine crashed", backend="sound", phase="load", cause="crash", why="it was killed by SIGSEGV"
)


@pytest.fixture
def optimizer(four_cores: Runtime, machine: Any) -> ConfigOptimizer:
    """Searches on the pretended machine."""
    return ConfigOptimizer(four_cores)


def optimize(optimizer: ConfigOptimizer, **options: Any) -> Any:
    """A search for the demo with the echo."""
    return optimizer.optimize_for_hardware("demo", backend="sound", **options)


def text_of(runtime: Runtime) -> str:
    """The settings file, or nothing."""
    path = runtime.paths.config_file
    return path.read_text("utf-8") if path.exists() else ""


# What it finds --------------------------------------------------------------------------------------------


def test_the_fastest_number_of_threads_is_proposed(optimizer: ConfigOptimizer, machine: Any) -> None:
    """It is found among the others and confirmed, and its gain has an interval."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    proposal = optimize(optimizer)

    assert [(change.key, change.old, change.new) for change in proposal.changes] == [
        ("backends.sound.threads", None, 2)
    ]
    assert proposal.improves
    assert proposal.gain is not None
    assert 40.0 < proposal.gain.low <= 50.0 <= proposal.gain.high < 60.0
    assert (proposal.gain.base, proposal.gain.new) == pytest.approx((100, 150), rel=0.03)
    assert "threads=2" in str(proposal)
    assert proposal.tried[0].settings == {}


def test_the_finalists_take_turns_with_the_settings_in_force(
    optimizer: ConfigOptimizer, machine: Any
) -> None:
    """A B A B to the end: a drift of the machine touches both alike."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    proposal = optimize(optimizer)
    assert proposal.report is not None
    count = len(proposal.report.candidates[1].rounds)

    assert count >= 6
    assert machine.rounds[-2 * count :] == [{}, {"threads": 2}] * count


def test_without_a_difference_the_settings_are_kept(optimizer: ConfigOptimizer, four_cores: Runtime) -> None:
    """Noise alone is no gain, and there is nothing to apply."""
    proposal = optimize(optimizer)

    assert not proposal.improves
    assert proposal.changes == ()
    assert "there is no evidence of a gain worth a change" in proposal.reason
    assert proposal.gain is not None
    assert proposal.gain.low < 0 < proposal.gain.high
    assert optimizer.apply_config(proposal).changes == ()
    assert text_of(four_cores) == ""


def test_a_drift_of_the_machine_is_no_gain(optimizer: ConfigOptimizer, machine: Any) -> None:
    """A machine that gets faster all the time does not make the settings tried last look better."""
    machine.rate = lambda _: 100.0 * 1.01 ** len(machine.rounds)

    assert not optimize(optimizer).improves


@pytest.mark.parametrize("challengers", [1, 2])
@pytest.mark.parametrize("rounds", [5, 15])
def test_noise_is_seldom_taken_for_a_gain(reports: Any, challengers: int, rounds: int) -> None:
    """Of many confirmations without any difference, no more than the stated few find a winner."""
    chance = random.Random(7)
    finalists: list[Any] = [SimpleNamespace() for _ in range(1 + challengers)]
    found = 0
    for _ in range(300):
        samples = [[chance.lognormvariate(4, 0.4) for _ in range(rounds)] for _ in finalists]
        report = reports.report(*(reports.candidate({"generate-32": values}) for values in samples))
        confirmation = Confirmation(finalists=finalists, figure="generate-32", report=report)
        found += confirmation.winner() is not None

    # 2.5 % are to be expected, half of 5 % because being worse is no gain: here, 7.5 of 300.
    assert found <= 16


def test_prompts_can_be_what_counts(optimizer: ConfigOptimizer, machine: Any) -> None:
    """For the goal `prompt` batch sizes are searched, by the speed of prompts."""
    machine.prompt_rate = lambda settings: 1500.0 if settings.get("batch_size") == 128 else 1000.0
    proposal = optimize(optimizer, goal="prompt")

    assert [(change.key, change.new) for change in proposal.changes] == [("backends.sound.batch_size", 128)]
    assert proposal.gain is not None
    assert proposal.gain.name.startswith("prompt-")


def test_less_memory_is_a_gain_too(optimizer: ConfigOptimizer, machine: Any) -> None:
    """For the goal `memory` less is better."""
    machine.memory = lambda settings: 1000 + settings.get("batch_size", 512)
    proposal = optimize(optimizer, goal="memory")

    assert proposal.changes
    assert proposal.gain is not None
    assert proposal.gain.name == "memory"
    assert proposal.gain.change < 0


def test_what_a_gain_costs_is_told(optimizer: ConfigOptimizer, machine: Any) -> None:
    """Faster generation with slower prompts: the proposal says both."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    machine.prompt_rate = lambda settings: 500.0 if settings.get("threads") == 2 else 1000.0
    proposal = optimize(optimizer)

    assert proposal.improves
    (price,) = [price for price in proposal.prices if price.startswith("Prompt")]
    assert "-50" in price


def test_settings_that_go_well_together_are_found_together(optimizer: ConfigOptimizer, machine: Any) -> None:
    """What was better is kept while the next setting is searched."""
    rates: dict[Any, float] = {(2, 128): 2000.0, (2, None): 1500.0}
    machine.prompt_rate = lambda s: rates.get((s.get("threads"), s.get("batch_size")), 1000.0)
    machine.budget = 120.0
    proposal = optimize(optimizer, goal="prompt", budget=120.0)

    assert {change.key.rpartition(".")[2]: change.new for change in proposal.changes} == {
        "threads": 2,
        "batch_size": 128,
    }


def test_the_engines_own_way_is_tried_where_the_settings_differ(
    optimizer: ConfigOptimizer, machine: Any, four_cores: Runtime
) -> None:
    """Settings that slow the engine down are found out, and its own default is proposed instead."""
    four_cores.config.set("backends.sound.threads", 1)
    four_cores.config.save()
    machine.rate = lambda settings: {4: 150.0}.get(settings.get("threads", 1), 100.0)
    proposal = optimize(optimizer)

    assert [(change.old, change.new) for change in proposal.changes] == [(1, 4)]


# What it leaves alone -------------------------------------------------------------------------------------


def test_context_and_kv_types_are_left_alone_unless_allowed(optimizer: ConfigOptimizer) -> None:
    """Both would make something else worse, so they are named and not tried."""
    proposal = optimize(optimizer, goal="memory")
    reasons = {left_out.what: left_out.reason for left_out in proposal.left_out}

    assert "--least-context" in reasons["context_size"]
    assert all("context_size" not in tried.settings for tried in proposal.tried)


def test_the_context_is_lowered_where_that_is_allowed(optimizer: ConfigOptimizer, machine: Any) -> None:
    """Down to the given size and no further, and the proposal says what that means."""
    machine.memory = lambda settings: 1000 + 10 * settings.get("context_size", 512)
    proposal = optimize(optimizer, goal="memory", least_context=128)

    assert {change.key: change.new for change in proposal.changes} == {"backends.sound.context_size": 128}
    assert any("less room" in price for price in proposal.prices)


def test_what_does_not_fit_into_memory_is_not_tried(
    optimizer: ConfigOptimizer, machine: Any, four_cores: Runtime
) -> None:
    """The memory verdict rules it out beforehand, with the figures."""
    four_cores.config.set("backends.sound.batch_size", 64)
    memory = attrs.evolve(four_cores.system.memory, available=2_500_000)
    four_cores.__dict__["system"] = attrs.evolve(four_cores.system, memory=memory)
    proposal = optimize(optimizer, goal="prompt")
    reasons = {left_out.what: left_out.reason for left_out in proposal.left_out}

    assert "does not fit" in reasons["batch_size=512"]
    assert all(settings.get("batch_size", 64) < 512 for settings in machine.rounds)


def test_a_setting_that_the_environment_decides_is_not_searched(
    optimizer: ConfigOptimizer, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be written into the file would have no effect."""
    monkeypatch.setenv("MODELPLUG_BACKENDS__SOUND__THREADS", "3")
    proposal = optimize(optimizer)
    reasons = {left_out.what: left_out.reason for left_out in proposal.left_out}

    assert "MODELPLUG_BACKENDS__SOUND__THREADS" in reasons["threads"]
    assert all("threads" not in settings for settings in machine.rounds)


def test_nothing_is_written_unless_it_is_applied(
    optimizer: ConfigOptimizer, machine: Any, four_cores: Runtime
) -> None:
    """A search reads the settings; applying writes them all, and says how to undo it."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    proposal = optimize(optimizer)
    assert text_of(four_cores) == ""
    applied = optimizer.apply_config(proposal)

    assert json.loads(text_of(four_cores))["backends"] == {"sound": {"threads": 2}}
    assert applied.changes == proposal.changes
    assert applied.undo == ("modelplug config unset backends.sound.threads",)


# When something goes wrong --------------------------------------------------------------------------------


def test_an_engine_that_crashes_is_a_row_that_says_so(optimizer: ConfigOptimizer, machine: Any) -> None:
    """It is out; the others are searched on."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 3 else 100.0

    def crash(_number: int) -> None:
        if machine.rounds[-1].get("threads") == 2:
            raise CRASH

    machine.on_round = crash
    proposal = optimize(optimizer)
    (crashed,) = [tried for tried in proposal.tried if tried.error]

    assert crashed.settings == {"threads": 2}
    assert "SIGSEGV" in crashed.error
    assert machine.rounds.count({"threads": 2}) == 1
    assert [change.new for change in proposal.changes] == [3]


def test_a_finalist_that_crashes_is_not_proposed(four_cores: Runtime, machine: Any) -> None:
    """However fast it was before."""
    phases: list[str] = []
    optimizer = ConfigOptimizer(four_cores, on_progress=lambda progress: phases.append(progress.phase))
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0

    def crash(_number: int) -> None:
        if phases.count("confirming") > 10 and machine.rounds[-1] == {"threads": 2}:
            raise CRASH

    machine.on_round = crash
    proposal = optimize(optimizer)

    assert phases == sorted(phases, reverse=True)
    assert not proposal.improves
    assert [tried.settings for tried in proposal.tried if tried.error] == [{"threads": 2}]


def test_an_engine_that_fails_as_it_is_ends_the_search(optimizer: ConfigOptimizer, machine: Any) -> None:
    """There is nothing to compare with; the error is the engine's own."""

    def crash(_number: int) -> None:
        raise CRASH

    machine.on_round = crash
    with pytest.raises(BackendError, match="the engine crashed"):
        optimize(optimizer)

    assert len(machine.rounds) == 1


@pytest.mark.parametrize("number", [1, 5, 30])
def test_ctrl_c_shows_what_was_measured(
    optimizer: ConfigOptimizer, machine: Any, four_cores: Runtime, number: int
) -> None:
    """While searching or confirming: everything until then is there, nothing is proposed."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0

    def interrupt(count: int) -> None:
        if count == number:
            raise KeyboardInterrupt

    machine.on_round = interrupt
    with pytest.raises(KeyboardInterrupt):
        optimize(optimizer)
    proposal = optimizer.proposal

    assert proposal is not None
    assert proposal.interrupted
    assert not proposal.improves
    # The first round only tells how much to measure, and counts nowhere.
    assert sum(tried.rounds for tried in proposal.tried) == max(0, number - 2)
    assert text_of(four_cores) == ""


# Time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0, 7.0, 25.0, 100.0])
def test_rounds_end_with_the_budget(optimizer: ConfigOptimizer, machine: Any, seconds: float) -> None:
    """Whatever a round takes, the search keeps to its time; what it has found by then counts."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    machine.seconds = seconds
    proposal = optimize(optimizer)

    assert proposal.seconds <= 60.0
    assert proposal.improves == (seconds <= 3.0)


def test_too_little_time_is_told_with_how_much_it_takes(optimizer: ConfigOptimizer, machine: Any) -> None:
    """Without evidence for lack of rounds, the proposal says which budget to try."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    machine.seconds = 7.0
    proposal = optimize(optimizer)

    assert "Try a budget of" in proposal.reason
    assert not proposal.improves


@pytest.mark.parametrize("at", ["load", "first"])
def test_an_engine_that_hangs_is_ended_with_the_budget(misbehaving: Any, at: str) -> None:
    """A real worker that never finishes loading, or answering, is ended with the time."""
    runtime = Runtime()
    runtime.config.set("backends.misbehaving.fault", "hang")
    runtime.config.set("backends.misbehaving.at", at)
    runtime.config.save()
    proposal = ConfigOptimizer(runtime).optimize_for_hardware("demo", backend="misbehaving", budget=4.0)
    runtime.history.close()

    assert proposal.changes == ()
    assert "used up before anything was measured" in proposal.reason


def test_a_real_worker_can_be_searched(misbehaving: Any) -> None:
    """The echo, whose settings change nothing: every round is a load, and the result is plain data."""
    runtime = Runtime()
    seen: list[str] = []
    optimizer = ConfigOptimizer(runtime, on_progress=lambda progress: seen.append(progress.phase))
    proposal = optimizer.optimize_for_hardware("demo", backend="sound", budget=6.0)
    runtime.history.close()

    assert proposal.tried[0].settings == {}
    assert proposal.reason
    assert seen[0] == "searching"
    assert set(seen) <= {"searching", "confirming"}
    assert json.loads(json.dumps(proposal.to_dict()))["backend"] == "sound"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": "speed"}, "no goal 'speed'"),
        ({"budget": 0}, "can't take 0 seconds"),
        ({"budget": math.nan}, "can't take nan seconds"),
        ({"least_context": 0}, "least context can't be 0"),
        ({"backend": "nonsense"}, "no backend named 'nonsense'"),
    ],
)
def test_nonsense_is_a_usage_error(four_cores: Runtime, options: dict[str, Any], message: str) -> None:
    """It ends the search before it begins."""
    with pytest.raises(UsageError, match=message):
        ConfigOptimizer(four_cores).optimize_for_hardware("demo", **options)


# What there is to try -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """The settings of an engine that has everything."""

    use_mmap: bool = True
    use_mlock: bool = False
    kv_type: str = attrs.field(default="f16", validator=attrs.validators.in_(("f16", "q8_0")))


def space_of(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, **options: Any) -> SearchSpace:
    """What there is to try with an engine that has everything, on a GPU unless said otherwise."""
    monkeypatch.setattr("modelplug.backends.wishes.settings_kind", lambda _report, _runtime: EngineSettings)
    report = BackendReport(
        name="engine",
        state=options.pop("state", BackendState.GPU),
        engine="An engine",
        gpu_offload=options.pop("gpu_offload", "layers"),
        settings=options.pop("settings", tuple(field.name for field in attrs.fields(EngineSettings))),
        ignored_settings=options.pop("ignored_settings", {}),
    )
    plan = LoadPlan(backend="engine", gpu_layers=options.pop("gpu_layers", -1), context_size=512, threads=4)
    info = inspected("demo", runtime)
    return search_space(info, report, plan, runtime, **{"goal": "generation", **options})


def values_of(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    """The values to try, by setting."""
    return {setting.name: setting.values for setting in space.settings}


def test_only_what_matters_for_the_goal_is_searched(
    four_cores: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings in the order of what they usually bring, each without the value in force."""
    space = space_of(four_cores, monkeypatch)

    assert values_of(space) == {
        "gpu_layers": (1, 0) if inspected("demo", four_cores).layers == 2 else values_of(space)["gpu_layers"],
        "threads": (2, 3, 8, 1),
        "use_mmap": (False,),
        "use_mlock": (True,),
    }
    assert list(values_of(space_of(four_cores, monkeypatch, goal="prompt")))[:3] == [
        "gpu_layers",
        "threads",
        "batch_size",
    ]


def test_layers_are_searched_on_a_gpu_only(four_cores: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """All, some and none, or all and none, as the engine can; and not at all on the CPU."""
    whole = values_of(space_of(four_cores, monkeypatch, gpu_offload="whole"))
    cpu = space_of(four_cores, monkeypatch, state=BackendState.CPU, gpu_layers=0)

    assert whole["gpu_layers"] == (0,)
    assert "gpu_layers" not in values_of(cpu)
    assert "CPU only" in next(one.reason for one in cpu.left_out if one.what == "gpu_layers")


def test_other_kv_types_are_searched_if_they_are_allowed(
    four_cores: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the engine admits."""
    assert "kv_type" not in values_of(space_of(four_cores, monkeypatch))
    assert values_of(space_of(four_cores, monkeypatch, kv_types=True))["kv_type"] == ("q8_0",)


def test_a_setting_that_the_engine_lacks_is_not_searched(
    four_cores: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with the reason, also where the engine only ignores it."""
    space = space_of(four_cores, monkeypatch, settings=("threads",), ignored_settings={"threads": "set OMP"})
    reasons = {left_out.what: left_out.reason for left_out in space.left_out}

    assert space.settings == ()
    assert reasons["use_mmap"] == "engine has no such setting"
    assert reasons["threads"] == "engine can't honour it: set OMP"


def test_contexts_go_down_by_halves(four_cores: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the least that is allowed."""
    space = space_of(four_cores, monkeypatch, goal="memory", least_context=100)

    assert values_of(space)["context_size"] == (256, 128)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("context", [3, 16, 64, 100, 512, 100_000])
@pytest.mark.parametrize("rate", [None, 0.1, 10.0, 1e5])
def test_sizes_fit_into_every_context(goal: str, context: int, rate: float | None) -> None:
    """Prompt and answer together never need more than there is."""
    chosen = choose_sizes(goal, context=context, generation=rate, prompt=rate, budget=60.0)
    for sizes in (chosen, pilot_sizes(goal, context=context)):
        names = {workload.name for workload in sizes.confirm}

        assert {workload.name for workload in sizes.search} <= names
        assert sizes.figure in {"memory", *(workload.name for workload in sizes.search)}
        assert all(workload.context_needed <= context for workload in sizes.confirm)


@pytest.mark.parametrize(
    ("generation", "prompt", "names"),
    [
        (5000.0, 30000.0, ["prompt-128", "generate-16"]),
        (20.0, 100.0, ["prompt-60", "generate-12"]),
        (0.5, 2.0, ["prompt-32", "generate-8"]),
    ],
)
def test_sizes_go_by_the_speed(generation: float, prompt: float, names: list[str]) -> None:
    """A slow model is measured with fewer tokens, so that rounds are many."""
    sizes = choose_sizes("generation", context=512, generation=generation, prompt=prompt, budget=60.0)

    assert [workload.name for workload in sizes.confirm] == names


@pytest.mark.parametrize(("challengers", "rounds"), [(1, 4), (2, 5)])
def test_evidence_takes_some_rounds(challengers: int, rounds: int) -> None:
    """With fewer, not even the clearest difference passes the test."""
    from modelplug.benchmark.statistics import mann_whitney

    def clearest(count: int) -> float:
        return mann_whitney(list(range(count)), list(range(100, 100 + count))).p * challengers

    assert rounds_for_evidence(challengers) == rounds
    assert clearest(rounds) <= 0.05 < clearest(rounds - 1)


def test_a_change_for_the_worse_is_no_gain(reports: Any) -> None:
    """However sure it is; nor is a change that is too small to matter."""
    from modelplug.benchmark.comparison import compare_candidates

    slow, little, fast = (
        reports.candidate({"generate-32": [rate * value for value in (1.0, 1.001, 1.002, 1.0015, 1.0005)]})
        for rate in (50.0, 50.3, 60.0)
    )
    (better,) = compare_candidates(slow, fast).metrics
    (worse,) = compare_candidates(fast, slow).metrics
    (too_little,) = compare_candidates(slow, little).metrics

    assert is_gain(better)
    assert not is_gain(worse)
    assert too_little.p <= 0.05
    assert not is_gain(too_little)


def test_settings_are_spelled_as_they_are_typed() -> None:
    """Numbers, switches and words."""
    assert spelled({"threads": 2, "use_mmap": False, "kv_type": "q8_0"}) == (
        "threads=2, use_mmap=false, kv_type=q8_0"
    )
