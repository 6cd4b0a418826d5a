"""Testing models and backends, with engines that say what they are told, and one that dies."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug import BackendTester, Benchmark, ModelBenchmark, ModelTester, Runtime
from modelplug.data import demo_model_path
from modelplug.errors import (
    BackendError,
    DoesNotFitError,
    ModelNotFoundError,
    ModelplugError,
    NothingSuitableError,
    UsageError,
    WorkerCrashedError,
    WorkerTimeoutError,
)
from modelplug.formats import inspect
from modelplug.testing.demo_weights import write_gguf


@pytest.fixture
def runtime(speaking: None) -> Any:
    """A runtime whose history is closed afterwards."""
    made = Runtime()
    yield made
    made.history.close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two copies of the demo model, and a file that is cut off."""
    made = {name: tmp_path / f"{name}.gguf" for name in ("first", "second", "cut")}
    for path in made.values():
        shutil.copyfile(demo_model_path(), path)
    os.truncate(made["cut"], 200_000)
    return made


def told(runtime: Runtime, **backends: dict[str, Any]) -> None:
    """Write settings of these backends."""
    for backend, settings in backends.items():
        for name, value in settings.items():
            runtime.config.set(f"backends.{backend}.{name}", value)


# One engine -----------------------------------------------------------------------------------------------


def test_a_model_that_works(runtime: Runtime) -> None:
    """It is a success, with the engine that selection picks, its speed, and every check that can be made."""
    told(runtime, alpha={"probabilities": "sound"})
    ((path, result),) = ModelTester(runtime).test_all_models(["demo"]).items()

    assert path == result.path == str(demo_model_path())
    assert (result.success, result.backend, result.error, result.suggestion) == (True, "alpha", "", "")
    assert result.tokens_per_second > 0
    assert result.performance == result.tokens_per_second
    assert [check.outcome for check in result.checks] == ["passed"] * 3
    assert (result.engine_version, result.device) == ("1.0", "cpu")
    assert result.memory_bytes > 10_000_000
    assert result.load_seconds > 0


def test_runs_are_kept_as_no_habit(runtime: Runtime) -> None:
    """The history has every request, and says that they were for a test."""
    ModelTester(runtime).run(["demo"], tokens=20)
    runs = runtime.history.runs()

    assert {run.purpose for run in runs} == {"test"}
    assert len(runs) == 8
    assert runtime.history.failures() == []


def test_what_can_not_be_checked_is_said(runtime: Runtime) -> None:
    """An engine without log probabilities and seeds passes, and those checks are not made up."""
    told(runtime, alpha={"seeded": False, "tokens": False})
    (result,) = ModelTester(runtime).run(["demo"]).results

    assert result.success
    assert [check.outcome for check in result.checks] == ["not checked", "passed", "not checked"]


@pytest.mark.parametrize(
    ("settings", "cause", "says"),
    [
        ({"probabilities": "nan"}, "not-finite", "computes no numbers"),
        ({"probabilities": "null"}, "not-finite", "computes no numbers"),
        ({"text": ""}, "empty-output", "says nothing"),
        ({"fickle": True}, "not-deterministic", "does not repeat itself"),
        ({"hasty": True}, "not-deterministic", "does not repeat itself"),
    ],
)
def test_answers_that_make_no_sense_are_failures(
    runtime: Runtime, settings: dict[str, Any], cause: str, says: str
) -> None:
    """The check that failed is the error, with what to do, and the history keeps it."""
    told(runtime, alpha=settings)
    (result,) = ModelTester(runtime).run(["demo"]).results

    assert not result.success
    assert says in result.error
    assert "modelplug test demo --all-backends" in result.suggestion
    assert isinstance(result.failure, BackendError)
    assert result.failure.cause == cause
    assert result.performance == -math.inf
    assert f"{result.tokens_per_second:.1f}" != "nan"
    (failure,) = runtime.history.failures()
    assert (failure.backend, failure.cause) == ("alpha", cause)
    # What was said is never recorded.
    assert "number-" not in failure.error


def test_nothing_is_kept_where_monitoring_is_off(runtime: Runtime) -> None:
    """Neither runs nor failures."""
    runtime.config.set("monitoring", False)
    told(runtime, alpha={"fickle": True})

    assert not ModelTester(runtime).run(["demo"]).success
    assert runtime.history.runs() == []
    assert runtime.history.failures() == []


# Several models -------------------------------------------------------------------------------------------


def test_a_crash_costs_one_row(runtime: Runtime, files: dict[str, Path]) -> None:
    """The engine dies of one file; the row says how, and the other models are tested."""
    told(runtime, alpha={"fault": "crash", "only": "first"})
    models = ["nowhere.gguf", str(files["first"]), str(files["cut"]), str(files["second"])]
    tester = ModelTester(runtime)
    results = tester.test_all_models(models)

    assert list(results) == models
    missing, crashed, cut, sound = results.values()
    assert [result.success for result in results.values()] == [False, False, False, True]
    assert isinstance(missing.failure, ModelNotFoundError)
    assert isinstance(crashed.failure, WorkerCrashedError)
    assert "SIGSEGV" in crashed.error
    assert crashed.backend == "alpha"
    assert "cut" in cut.error
    assert all(result.suggestion for result in (missing, crashed, cut))
    assert math.isnan(missing.tokens_per_second)
    assert f"{missing.tokens_per_second:.1f}" == "nan"
    assert tester.report is not None
    assert not tester.report.success
    # The engine's own failure is kept once.
    assert [failure.cause for failure in runtime.history.failures()] == ["crash"]
    assert sound.success


def test_all_registered_models_are_tested(runtime: Runtime, files: dict[str, Path]) -> None:
    """Without names these are all that have one, also where the file has gone, and the configured model."""
    runtime.history.add_model("one", files["first"])
    runtime.history.add_model("again", files["first"])
    runtime.history.add_model("gone", files["first"].with_name("gone.gguf"))
    runtime.config.set("model_path", str(files["second"]))
    results = ModelTester(runtime).test_all_models()

    assert {Path(path).name: result.success for path, result in results.items()} == {
        "first.gguf": True,
        "gone.gguf": False,
        "second.gguf": True,
    }
    assert results[str(files["first"])].model == "again"
    assert "no longer there" in results[str(files["first"].with_name("gone.gguf"))].error


def test_a_registered_model_is_not_a_file_of_that_name(
    runtime: Runtime, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies where the program was started, under the name of a model, is not that model."""
    (tmp_path / "one").write_bytes(b"something else")
    runtime.history.add_model("one", files["first"])
    monkeypatch.chdir(tmp_path)

    assert list(ModelTester(runtime).test_all_models()) == [str(files["first"])]


def test_without_models_the_demo_is_tested(runtime: Runtime) -> None:
    """A fresh installation has that one; and a single name may be given as it is."""
    assert list(ModelTester(runtime).test_all_models()) == [str(demo_model_path())]
    assert list(ModelTester(runtime).test_all_models("demo")) == [str(demo_model_path())]


def test_files_of_the_same_name_are_told_apart(runtime: Runtime, tmp_path: Path) -> None:
    """Their labels have the whole path, and copies of one model are compared with each other."""
    models = [tmp_path / folder / "model.gguf" for folder in ("a", "b")]
    for model in models:
        model.parent.mkdir()
        shutil.copyfile(demo_model_path(), model)
    report = ModelTester(runtime).run(models)

    assert [result.label for result in report.results] == [f"{model} on alpha" for model in models]
    assert [parity.outcome for parity in report.parities] == ["same"]


# Time and interruption ------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"fault": "hang", "only": "first"}, {"pace": 0.5, "only": "first"}])
def test_a_deadline_ends_one_model(
    runtime: Runtime, files: dict[str, Path], settings: dict[str, Any]
) -> None:
    """An engine that hangs, or is too slow, is stopped when the time is up; the next model is tested."""
    told(runtime, alpha=settings)
    models = [str(files["first"]), "nowhere.gguf"]
    late, _ = ModelTester(runtime).run(models, deadline=3.0).results

    assert isinstance(late.failure, WorkerTimeoutError)
    assert "within 3 s" in late.error
    assert "--timeout" in late.suggestion
    assert late.seconds < 60
    assert [failure.cause for failure in runtime.history.failures()] == ["timeout"]


def test_ctrl_c_keeps_what_was_done(runtime: Runtime, files: dict[str, Path]) -> None:
    """The report has the finished results and the names of the others, and the interruption goes on."""

    def on_progress(progress: Any) -> None:
        if (progress.number, progress.step) == (1, "greedy decoding again"):
            signal.raise_signal(signal.SIGINT)

    tester = ModelTester(runtime, on_progress=on_progress)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            tester.run(["demo", str(files["first"]), str(files["second"])])
    finally:
        signal.signal(signal.SIGINT, before)

    report = tester.report
    assert report is not None
    assert report.interrupted
    assert not report.success
    assert [result.label for result in report.results] == ["demo on alpha"]
    assert report.untested == ("first.gguf on alpha", "second.gguf on alpha")


def test_no_thread_is_left(runtime: Runtime) -> None:
    """The clock of a deadline ends with the test."""
    before = threading.active_count()
    ModelTester(runtime).run(["demo"], deadline=1e300)

    assert threading.active_count() == before


@pytest.mark.parametrize(
    "options",
    [
        {"tokens": 0},
        {"tokens": True},
        {"tokens": 2.5},
        {"deadline": 0},
        {"deadline": math.nan},
        {"deadline": "soon"},
        {"backends": ["nonsense"]},
    ],
)
def test_calls_that_make_no_sense(runtime: Runtime, options: dict[str, Any]) -> None:
    """They are refused before anything is loaded."""
    tester = ModelTester(runtime)
    with pytest.raises(UsageError):
        tester.run(["demo"], **options)
    assert tester.report is None


def test_force_tries_what_does_not_fit(runtime: Runtime) -> None:
    """Without it the row says that the model does not fit; with it the model is loaded, and measured too."""
    memory = attrs.evolve(runtime.system.memory, available=1000)
    runtime.__dict__["system"] = attrs.evolve(runtime.system, memory=memory)
    tester = ModelTester(runtime)

    (refused,) = tester.run(["demo"], tokens=1).results
    assert isinstance(refused.failure, DoesNotFitError)
    assert tester.run(["demo"], tokens=1, force=True).success
    plan = {"workloads": [Benchmark(name="one", prompt_tokens=1)], "rounds": 1}
    report = ModelBenchmark(runtime).run(["demo"], force=True, **plan)
    assert [candidate.status for candidate in report.candidates] == ["measured"]


# Backends -------------------------------------------------------------------------------------------------


def test_the_best_backend_is_the_fastest_that_works(runtime: Runtime) -> None:
    """As the guide picks it: a backend that is faster and fails does not win."""
    told(runtime, alpha={"fault": "crash"}, beta={"pace": 0.01})
    tester = BackendTester(runtime)
    results = tester.benchmark_all_backends()

    assert list(results) == ["alpha", "beta", "gamma"]
    assert max(results.items(), key=lambda item: item[1].performance)[0] == "gamma"
    assert results["beta"].performance < results["gamma"].performance
    assert results["alpha"].performance == -math.inf
    assert tester.report is not None
    assert [parity.labels for parity in tester.report.parities] == [("beta", "gamma")]


def test_where_no_backend_works_none_is_the_best(runtime: Runtime, files: dict[str, Path]) -> None:
    """It is an error that says why for each; what was found is kept."""
    told(runtime, **{name: {"text": ""} for name in ("alpha", "beta", "gamma")})
    tester = BackendTester(runtime)
    with pytest.raises(ModelplugError, match=r"alpha: .*says nothing.*; beta: .*; gamma: ") as caught:
        tester.benchmark_all_backends("demo")
    assert caught.value.advice
    assert tester.report is not None
    assert len(tester.report.results) == 3

    with pytest.raises(ModelNotFoundError):
        tester.benchmark_all_backends("nowhere.gguf")


def test_without_any_backend_nothing_is_suitable(own_home: Path) -> None:
    """The error is the one that loading would give."""
    runtime = Runtime(no_plugins=True)
    with pytest.raises(NothingSuitableError):
        BackendTester(runtime).benchmark_all_backends("demo")
    runtime.history.close()


def test_the_model_of_choice(runtime: Runtime, files: dict[str, Path], tmp_path: Path) -> None:
    """Without a name: the configured model, else the registered one that was run last, else the demo."""
    told(runtime, beta={"enabled": False}, gamma={"enabled": False})

    def chosen() -> str:
        (result,) = BackendTester(runtime).benchmark_all_backends(tokens=1).values()
        return Path(result.path).name

    assert chosen() == "demo.gguf"
    runtime.history.add_model("gone", tmp_path / "gone.gguf")
    assert chosen() == "demo.gguf"
    other = write_gguf(tmp_path, "f16")
    runtime.history.add_model("first", files["first"], inspect(files["first"]))
    runtime.history.add_model("other", other, inspect(other))
    assert chosen() == other.name
    ModelTester(runtime).run(["first"], tokens=1)
    assert chosen() == "first.gguf"
    runtime.config.set("model_path", str(files["second"]))
    assert chosen() == "second.gguf"


# Parity ---------------------------------------------------------------------------------------------------


def test_an_engine_that_stands_out_is_told(runtime: Runtime) -> None:
    """Two engines agree and one does not: the report says which, from which token on, and why it matters."""
    sure = {"probabilities": "sound", "rival": "six"}
    told(runtime, alpha=sure, gamma=sure, beta={**sure, "text": "one two six", "rival": "three"})
    report = ModelTester(runtime).run(["demo"], backends=["all"])
    (parity,) = report.parities

    assert parity.outcome == "different"
    assert {(d.label, d.others, d.majority) for d in parity.differences} == {
        ("beta", ("alpha", "gamma"), True)
    }
    parting = parity.differences[0].parting
    assert (parting.unit, parting.position, parting.rounding) == ("token", 2, False)
    assert "does not explain" in parting.reason
    assert report.disagreements
    assert not report.success
    assert all(result.success for result in report.results)
    assert [bool(result.remarks) for result in report.results] == [False, True, False]


def test_a_close_call_is_no_disagreement(runtime: Runtime) -> None:
    """Where both engines held both words nearly as probable, rounding explains it, and nothing failed."""
    told(
        runtime,
        alpha={"probabilities": "tied", "rival": "six"},
        beta={"probabilities": "tied", "text": "one two six", "rival": "three"},
    )
    report = ModelTester(runtime).run(["demo"], backends=["alpha", "beta"])
    (parity,) = report.parities

    assert parity.outcome == "rounding"
    assert parity.differences[0].parting.rounding is True
    assert report.success


def test_text_is_compared_where_there_are_no_tokens(runtime: Runtime) -> None:
    """The first character that differs is told, and that rounding can't be ruled out."""
    told(runtime, alpha={"tokens": False}, beta={"text": "one two six"})
    (parity,) = ModelTester(runtime).run(["demo"], backends=["alpha", "beta"]).parities
    parting = parity.differences[0].parting

    assert (parting.unit, parting.position, parting.rounding) == ("character", 8, None)
    assert "can't be told" in parting.reason
    assert parity.outcome == "different"


def test_an_early_end_is_a_difference(runtime: Runtime) -> None:
    """One engine ends where the other goes on."""
    told(runtime, alpha={"ends": True})
    (parity,) = ModelTester(runtime).run(["demo"], backends=["alpha", "beta"]).parities

    assert parity.outcome == "different"
    assert parity.differences[0].parting.position == 5
