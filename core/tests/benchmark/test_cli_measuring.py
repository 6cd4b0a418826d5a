"""`modelplug bench` and `compare`, as typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug.benchmark.serialize import read_json, report_from_dict, write_report
from modelplug.cli.main import main

Run = Callable[..., tuple[int, str, str]]
BENCH = ("bench", "demo", "--backend", "sound", "--workload", "generate-32")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, in this process: exit status, output, and what it said beside it."""

    def run_program(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return run_program


@pytest.fixture
def files(reports: Any, steady: Any, tmp_path: Path) -> dict[str, str]:
    """Results in files: a baseline, the same again, a faster and a slower one, and one of another machine."""
    import attrs

    made = {
        "base": reports.report(reports.candidate({"load": steady(1.0), "generate-128": steady(50.0)})),
        "fast": reports.report(reports.candidate({"load": steady(0.5), "generate-128": steady(60.0)})),
        "slow": reports.report(reports.candidate({"load": steady(1.02), "generate-128": steady(45.0)})),
    }
    environment = attrs.evolve(made["base"].environment, machine="c" * 16, cpu="Another processor")
    made["other"] = attrs.evolve(made["base"], environment=environment)
    for name, report in made.items():
        write_report(report, tmp_path / f"{name}.json")
    return {name: str(tmp_path / f"{name}.json") for name in made}


# bench ----------------------------------------------------------------------------------------------------


def test_a_benchmark_is_printed_kept_and_written(misbehaving: Any, run: Run, tmp_path: Path) -> None:
    """Figures are on standard output; the history and the files have the whole result."""
    outputs = [str(tmp_path / f"result{ending}") for ending in (".json", ".html", ".md", ".csv")]
    status, out, err = run(
        *BENCH, "--workload", "prompt-32", "--rounds", "1", *(f"--output={o}" for o in outputs)
    )

    assert status == 0
    assert "Generating 32 tokens" in out
    assert "DEMO ON SOUND" in out
    assert "a single round" in out
    assert "kept in the history as benchmark 1" in err
    assert all(Path(output).stat().st_size > 500 for output in outputs)
    written = report_from_dict(read_json(Path(outputs[0])))
    assert [candidate.label for candidate in written.candidates] == ["demo on sound"]

    status, again, _ = run("bench", "--from", "1", "--json")
    assert status == 0
    assert report_from_dict(json.loads(again)) == written


def test_a_file_that_cannot_be_written_comes_after_the_figures(
    misbehaving: Any, run: Run, tmp_path: Path
) -> None:
    """The figures are printed and kept; then the error says which file it was and what to type."""
    (tmp_path / "file").write_text("no folder")
    status, out, err = run(*BENCH, "--rounds", "1", "-o", str(tmp_path / "file" / "r.json"))

    assert status == 1
    assert "Generating 32 tokens" in out
    assert "kept in the history as benchmark 1" in err
    assert "the result can't be written to" in err


def test_a_backend_that_cannot_is_a_row_and_status_1(misbehaving: Any, run: Run) -> None:
    """The others are measured; with `--json` the output is the result and nothing else."""
    status, out, _err = run(*BENCH, "--backend", "resnet-bk", "--rounds", "1", "--json")
    measured, failed = report_from_dict(json.loads(out)).candidates

    assert status == 1
    assert (measured.status, failed.status) == ("measured", "failed")
    assert failed.error is not None
    assert failed.error["error"] == "NothingSuitableError"


def test_a_benchmark_of_nothing_is_the_error(misbehaving: Any, run: Run) -> None:
    """If nothing could be measured, the engine's error ends the program, with its own status."""
    status, out, err = run("bench", "demo", "--backend", "resnet-bk", "--json")

    assert status == 3
    assert json.loads(out)["error"] == "NothingSuitableError"
    assert "resnet-bk" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bench",), "no model is named"),
        (("bench", "demo", "--output", "x.pdf"), "can't be written as x.pdf"),
        (("bench", "demo", "--workload", "prompt-33"), "no workload named 'prompt-33'"),
        (("bench", "demo", "--rounds", "0"), "0 is not in the range"),
        (("bench", "demo", "--set", "nonsense"), "is not NAME=VALUE"),
        (("compare", "none.json", "--fail-on", "improvement"), "--fail-on can't be 'improvement'"),
    ],
)
def test_what_is_mistyped_is_said_before_anything_is_measured(run: Run, arguments: Any, says: str) -> None:
    """Bad usage is status 2 and an error with advice."""
    status, out, err = run(*arguments)

    assert (status, out) == (2, "")
    assert says in err
    assert "try:" in err


def test_workloads_are_listed(run: Run) -> None:
    """`--list` shows every workload, for people and for programs."""
    status, out, _ = run("bench", "--list")
    _, plain, _ = run("bench", "--list", "--json")

    assert status == 0
    assert "generate-128" in out
    assert [w["name"] for w in json.loads(plain)][:2] == ["prompt-32", "prompt-128"]


def test_ctrl_c_keeps_what_was_measured(misbehaving: Any, own_home: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 after writing the samples so far, and leaves no process."""
    output = tmp_path / "result.json"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modelplug",
            *BENCH,
            "--set",
            "pace=0.01",
            "--rounds",
            "500",
            "-o",
            str(output),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    kept = own_home / "benchmarks"
    # A file is there after the first round.
    assert misbehaving.eventually(lambda: kept.is_dir() and any(kept.glob("unfinished-*.json")), 100)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    report = report_from_dict(read_json(output))

    assert process.returncode == 130
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err
    assert "Generating 32 tokens" in out
    assert report.interrupted
    assert report.candidates[0].requests
    assert list(kept.iterdir()) == []
    mine = {os.getpid()}
    assert misbehaving.eventually(
        lambda: misbehaving.processes_with(f"MODELPLUG_HOME={own_home}") <= mine, 20
    )


# compare --------------------------------------------------------------------------------------------------


def test_two_results_are_compared(run: Run, files: dict[str, str]) -> None:
    """Changes, intervals and verdicts are in a table, and the summary under it."""
    status, out, err = run("compare", files["base"], files["fast"])

    assert (status, err) == (0, "")
    assert "improved" in out
    assert "+20.0 %" in out
    assert "-50.0 %" in out
    assert "Mann-Whitney" in out
    assert "Overall improvement" in out


def test_comparisons_are_json_for_programs(run: Run, files: dict[str, str]) -> None:
    """`--json` has the guide's fields, every figure, and what failed."""
    status, out, _ = run("compare", files["base"], files["slow"], "--json", "--fail-on", "regression:5%")
    plain = json.loads(out)

    assert status == 1
    assert plain["inference_speed_change"] == pytest.approx(-10, abs=0.5)
    assert plain["gpu_utilization_change"] is None
    assert plain["failed_on"] == [{"candidate": "demo on engine", "metric": "generate-128"}]
    assert {m["verdict"] for m in plain["candidates"][0]["metrics"]} == {"regressed"}


@pytest.mark.parametrize(
    ("new", "limit", "status"),
    [
        ("slow", "regression", 1),
        ("slow", "regression:5%", 1),
        ("slow", "regression:5", 1),
        ("slow", "regression:20%", 0),
        ("fast", "regression", 0),
        ("base", "regression:0%", 0),
    ],
)
def test_a_pipeline_can_fail_on_regressions(
    run: Run, files: dict[str, str], new: str, limit: str, status: int
) -> None:
    """The status is 1 exactly where a figure has regressed by as much as the limit says."""
    found, _, err = run("compare", files["base"], files[new], "--fail-on", limit)

    assert found == status
    assert ("regressed by" in err) == bool(status)


def test_another_machine_is_the_first_thing_said(run: Run, files: dict[str, str]) -> None:
    """A baseline from another machine is compared, and the difference is stated before the figures."""
    status, out, _ = run("compare", files["base"], files["other"])

    assert status == 0
    assert out.startswith("The baseline comes from another machine")


def test_a_baseline_is_measured_again(misbehaving: Any, run: Run, tmp_path: Path) -> None:
    """Without a second result, model, backend, settings and workloads of the baseline are measured now."""
    base = tmp_path / "base.json"
    assert run(*BENCH, "--rounds", "1", "--threads", "1", "-o", str(base))[0] == 0
    status, out, err = run("compare", "1", "--rounds", "1", "-o", str(tmp_path / "new.json"), "--json")
    again = report_from_dict(read_json(tmp_path / "new.json"))

    assert status == 0
    assert "kept in the history as benchmark 2" in err
    assert again.candidates[0].requested == {"threads": 1}
    assert [w["name"] for w in again.protocol.workloads] == ["generate-32"]
    assert {m["verdict"] for m in json.loads(out)["candidates"][0]["metrics"]} == {"no evidence"}


def test_a_missing_baseline_says_what_to_type(run: Run) -> None:
    """A file that is not there is status 1 and the command that writes one."""
    status, _, err = run("compare", "/nowhere/base.json")

    assert status == 1
    assert "modelplug bench MODEL --output FILE.json" in err
