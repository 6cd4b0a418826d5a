"""A whole benchmark: turns, budgets, failures and interruption, with an engine that fails on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug import BenchmarkReport, ModelBenchmark, Runtime
from modelplug.benchmark import run as run_module
from modelplug.benchmark.candidates import choose_candidates
from modelplug.benchmark.run import BenchmarkRun, Plan
from modelplug.benchmark.stored import RoundsFile, stored_report
from modelplug.benchmark.workload import Benchmark
from modelplug.errors import ModelplugError, NothingSuitableError, UsageError

# The echo has a context of 64 tokens.
SMALL = (
    Benchmark(name="prompt-8", prompt_tokens=8),
    Benchmark(name="generate-8", prompt_tokens=4, generate_tokens=8),
)


@pytest.fixture
def runtime() -> Any:
    """A runtime whose history is closed afterwards."""
    made = Runtime()
    yield made
    made.history.close()


# With a real worker ---------------------------------------------------------------------------------------


def test_a_benchmark_measures_what_it_says(misbehaving: Any, runtime: Runtime) -> None:
    """Two rounds of the echo: loads, requests, memory and figures are all there, and the record is whole."""
    seen: list[str] = []
    benchmark = ModelBenchmark(runtime, on_progress=lambda progress: seen.append(progress.step))
    report = benchmark.run(["demo"], backends=["sound"], workloads=SMALL, rounds=2, settings={"threads": 1})
    (candidate,) = report.candidates

    assert (candidate.status, candidate.error, benchmark.failure) == ("measured", None, None)
    assert candidate.label == "demo on sound"
    assert (candidate.requested, candidate.effective["threads"]) == ({"threads": 1}, 1)
    assert candidate.model.fingerprint
    assert [entry.number for entry in candidate.rounds] == [0, 1]
    assert all(entry.peak_bytes >= entry.resident_bytes > 10_000_000 for entry in candidate.rounds)
    assert all(entry.load_seconds > 0 for entry in candidate.rounds)
    assert {"load", "prompt-8", "first-token-8", "generate-8", "memory"} == {
        m.name for m in candidate.metrics
    }
    assert candidate.distribution == "misbehaving 1.0"
    assert report.environment.packages["misbehaving"] == "1.0"
    assert seen[:3] == ["loading", "prompt-8", "generate-8"]
    assert {run.completion_tokens for run in runtime.history.runs()} == {1, 8}


@pytest.mark.parametrize(
    ("fault", "at", "cause"),
    [("sigsegv", "middle", "crash"), ("exit", "load", "exit"), ("memory", "first", "out")],
)
def test_an_engine_that_dies_is_a_row_that_says_so(
    misbehaving: Any, runtime: Runtime, fault: str, at: str, cause: str
) -> None:
    """The candidate failed, with the error; the other one is measured to the end."""
    candidates = (
        *choose_candidates(["demo"], ["misbehaving"], {"fault": fault, "at": at}, runtime),
        *choose_candidates(["demo"], ["sound"], {}, runtime),
    )
    report = BenchmarkRun(candidates, Plan(workloads=SMALL, rounds=2), runtime).run()
    failed, measured = report.candidates

    assert (failed.status, measured.status) == ("failed", "measured")
    assert failed.error is not None
    assert str(failed.error["cause"]).startswith(cause)
    assert len(measured.rounds) == 2
    # Where it died while answering, what it had done before is kept.
    assert bool(failed.requests) == (at == "middle")


def test_an_engine_that_hangs_is_stopped_by_its_deadline(misbehaving: Any, runtime: Runtime) -> None:
    """A load that never ends fails after the deadline; alone, it ends the benchmark with that error."""
    benchmark = ModelBenchmark(runtime)
    settings = {"fault": "hang", "at": "load"}
    report = benchmark.run(
        ["demo"], backends=["misbehaving"], workloads=SMALL, deadline=1.0, settings=settings
    )

    assert report.candidates[0].status == "failed"
    assert benchmark.failure is not None
    assert "within 1 s" in str(benchmark.failure)
    with pytest.raises(ModelplugError, match="within 1 s"):
        benchmark.run_comprehensive_test(
            "demo", backends=["misbehaving"], workloads=SMALL, deadline=1.0, settings=settings
        )


# Turns and budgets ----------------------------------------------------------------------------------------


@pytest.fixture
def turns(
    monkeypatch: pytest.MonkeyPatch, misbehaving: Any, runtime: Runtime, reports: Any
) -> Callable[..., Any]:
    """Runs a benchmark of two candidates whose rounds are made up; gives the run and who had which turn."""

    def start(action: Callable[[str, int], None] = lambda _label, _round: None, **plan: Any) -> Any:
        order: list[tuple[str, int]] = []

        def pretend(collected: Any, number: int, _workloads: Any, _instruments: Any) -> None:
            order.append((collected.candidate.backend, number))
            collected.requests.append(reports.request("prompt-8", number))
            action(collected.candidate.backend, number)
            collected.rounds.append(reports.round(number))

        monkeypatch.setattr(run_module, "measure_round", pretend)
        candidates = choose_candidates(["demo"], ["sound", "misbehaving"], {}, runtime)
        kept: list[BenchmarkReport] = []
        made = BenchmarkRun(candidates, Plan(workloads=SMALL, **plan), runtime, on_round=kept.append)
        return made, order, kept

    return start


def test_candidates_take_turns(turns: Callable[..., Any]) -> None:
    """Rounds are interleaved, A B A B, and the report so far is handed out after each of them."""
    run, order, kept = turns(rounds=3)
    report = run.run()

    assert order == [(name, number) for number in range(3) for name in ("sound", "misbehaving")]
    assert [len(report.candidates[0].rounds) for report in kept] == [1, 2, 3]
    assert {candidate.status for candidate in report.candidates} == {"measured"}


def test_no_round_begins_after_the_budget(turns: Callable[..., Any]) -> None:
    """When the time is used up, what was measured is partial, and a note says how far it came."""
    run, _order, _kept = turns(lambda _name, _number: time.sleep(0.1), rounds=50, budget=0.5)
    (one, _) = run.run().candidates

    assert 1 <= len(one.rounds) < 50
    assert one.status == "partial"
    assert one.notes == (f"The 0.5 s for each candidate allowed {len(one.rounds)} of 50 rounds.",)


def test_a_candidate_that_fails_is_out(turns: Callable[..., Any]) -> None:
    """After its failure it has no further turn, and its samples until then are kept."""

    def fail(name: str, number: int) -> None:
        if (name, number) == ("misbehaving", 1):
            raise ModelplugError("it died")

    run, order, _kept = turns(fail, rounds=3)
    sound, failed = run.run().candidates

    assert order == [("sound", 0), ("misbehaving", 0), ("sound", 1), ("misbehaving", 1), ("sound", 2)]
    assert (sound.status, failed.status, len(failed.requests)) == ("measured", "failed", 2)
    assert failed.error is not None
    assert failed.error["what"] == "it died"


def test_ctrl_c_keeps_the_samples(turns: Callable[..., Any]) -> None:
    """An interrupted benchmark raises; its report has everything until then and says that it ended early."""

    def interrupt(name: str, number: int) -> None:
        if (name, number) == ("sound", 2):
            raise KeyboardInterrupt

    run, _order, kept = turns(interrupt, rounds=5)
    with pytest.raises(KeyboardInterrupt):
        run.run()

    assert run.report.interrupted
    assert [len(c.requests) for c in run.report.candidates] == [3, 2]
    assert [c.status for c in run.report.candidates] == ["partial", "partial"]
    assert len(kept) == 2


def test_time_goes_by_a_clock_that_cannot_be_set(
    turns: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system clock that is set back in the middle changes neither order nor duration."""

    def set_back(_name: str, number: int) -> None:
        monkeypatch.setattr(time, "time", lambda: 1e9 - 1000 * number)

    report = turns(set_back, rounds=3)[0].run()

    assert report.seconds >= 0
    assert report.created >= "2026"


# Choosing -------------------------------------------------------------------------------------------------


def test_all_suitable_backends_can_be_asked_for(misbehaving: Any, runtime: Runtime) -> None:
    """`all` makes a candidate of every backend that suits the model, none twice."""
    found = choose_candidates(["demo", "demo"], ["all", "sound"], {}, runtime)
    backends = [candidate.backend for candidate in found]

    assert {"sound", "misbehaving"} <= set(backends)
    assert len(set(backends)) == len(backends)
    assert all(candidate.report is not None for candidate in found)


def test_a_backend_that_does_not_suit_is_a_candidate_with_a_problem(
    misbehaving: Any, runtime: Runtime
) -> None:
    """It is not tried; the row has the reason, and alone it ends the benchmark with it."""
    benchmark = ModelBenchmark(runtime)
    report = benchmark.run(["demo"], backends=["resnet-bk"], workloads=SMALL)
    (candidate,) = report.candidates

    assert candidate.status == "failed"
    assert isinstance(benchmark.failure, NothingSuitableError)
    assert benchmark.failure.exit_code == 3


def test_an_unknown_backend_is_a_usage_error(misbehaving: Any, runtime: Runtime) -> None:
    """A name that no backend has ends the benchmark before it begins."""
    with pytest.raises(UsageError, match="no backend named 'lamacpp'"):
        choose_candidates(["demo"], ["lamacpp"], {}, runtime)


def test_models_of_one_name_have_labels_of_their_own(
    misbehaving: Any, runtime: Runtime, tmp_path: Path
) -> None:
    """Two files of the same name are told apart by their paths."""
    from modelplug.data import demo_model_path

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.gguf").write_bytes(demo_model_path().read_bytes())
    paths = [str(tmp_path / folder / "model.gguf") for folder in ("a", "b")]
    labels = [candidate.label for candidate in choose_candidates(paths, ["sound"], {}, runtime)]

    assert labels == ["model.gguf on sound", f"{paths[1]} on sound"]


# Keeping --------------------------------------------------------------------------------------------------


def test_a_benchmark_is_in_the_history(turns: Callable[..., Any], runtime: Runtime) -> None:
    """What was measured is recorded once, also if it was interrupted, and found again by its number."""
    turns()
    candidates = choose_candidates(["demo"], ["sound"], {}, runtime)
    benchmark = ModelBenchmark(runtime)
    report = benchmark.measure(candidates, Plan(workloads=SMALL, rounds=2))

    assert benchmark.number == 1
    assert stored_report("1", runtime) == report
    (record,) = runtime.history.benchmarks()
    assert (record.model, record.backend) == ("demo", "sound")


def test_an_interrupted_benchmark_is_in_the_history(turns: Callable[..., Any], runtime: Runtime) -> None:
    """Ctrl-C ends the measuring after what was measured has been recorded."""

    def interrupt(_name: str, number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    turns(interrupt)
    benchmark = ModelBenchmark(runtime)
    with pytest.raises(KeyboardInterrupt):
        benchmark.measure(choose_candidates(["demo"], ["sound"], {}, runtime), Plan(workloads=SMALL))

    assert benchmark.number is not None
    assert stored_report(str(benchmark.number), runtime).interrupted


def test_nothing_is_recorded_where_monitoring_is_off(turns: Callable[..., Any], runtime: Runtime) -> None:
    """The setting `monitoring: false` holds for benchmarks too."""
    runtime.config.set("monitoring", False)
    turns()
    benchmark = ModelBenchmark(runtime)
    benchmark.measure(choose_candidates(["demo"], ["sound"], {}, runtime), Plan(workloads=SMALL, rounds=1))

    assert benchmark.number is None
    assert runtime.history.benchmarks() == []


def test_a_round_is_on_disk_before_the_next_begins(runtime: Runtime, reports: Any, steady: Any) -> None:
    """While a benchmark runs, a file holds what was measured."""
    file = RoundsFile(runtime)
    report = reports.report(reports.candidate({"load": steady(1.0)}))
    file.keep(report)
    (path,) = (runtime.paths.data / "benchmarks").iterdir()

    assert stored_report(str(path), runtime) == report
    file.remove()
    assert list((runtime.paths.data / "benchmarks").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(runtime: Runtime, reports: Any, steady: Any) -> None:
    """Where rounds can't be kept the benchmark goes on, and says why."""
    runtime.paths.data.mkdir(parents=True, exist_ok=True)
    (runtime.paths.data / "benchmarks").write_text("in the way")
    file = RoundsFile(runtime)
    file.keep(reports.report(reports.candidate({"load": steady(1.0)})))

    assert "no rounds are kept in" in file.trouble
    file.remove()


def test_an_unknown_number_is_an_error(runtime: Runtime) -> None:
    """A number that the history does not know is answered with where numbers come from."""
    with pytest.raises(ModelplugError, match="no benchmark number 77") as caught:
        stored_report("77", runtime)
    assert "modelplug bench" in caught.value.advice
