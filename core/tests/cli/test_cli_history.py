"""`modelplug history`, `insights`, `wizard`, `monitor`, and what `models` knows, through the entry point."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelplug import Runtime
from modelplug.backends.api import load
from modelplug.backends.model import GenerateParams
from modelplug.cli.main import main
from modelplug.data import demo_model_path
from modelplug.formats import inspect
from modelplug.history import FailureRecord, RunRecord

FEW = GenerateParams(max_tokens=3, temperature=0.0)


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def recorded() -> Runtime:
    """A history with runs of two models, a failure, and a name."""
    runtime = Runtime()
    info = inspect(demo_model_path())
    runtime.history.saw(info)
    runtime.history.add_model("mine", demo_model_path(), info)
    runtime.history.record_runs(
        [
            RunRecord(
                fingerprint=info.fingerprint,
                backend="engine",
                prompt_tokens=10,
                completion_tokens=100,
                generate_seconds=8.0,
                first_token_seconds=0.25,
                finish_reason="stop",
                time="2026-05-01T10:00:00.000+00:00",
            ),
            RunRecord(
                fingerprint="sha256-sampled:abcdef0123456789",
                backend="other",
                success=False,
                error="it broke",
                time="2026-05-02T10:00:00.000+00:00",
            ),
        ],
        [
            FailureRecord(
                fingerprint=info.fingerprint,
                backend="other",
                phase="load",
                cause="crash",
                error="other was killed by SIGSEGV",
                time="2026-05-02T10:00:00.000+00:00",
            )
        ],
    )
    return runtime


# History --------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_names(run: Run, recorded: Runtime) -> None:
    """By name where there is one, and else by the beginning of the fingerprint."""
    outcome = run("history")
    lines = outcome.out.splitlines()

    assert outcome.status == 0
    assert lines[0].split() == ["ID", "TIME", "(UTC)", "MODEL", "BACKEND", "DEVICE", "PROMPT", "TOKENS",
                                "TOKENS/S", "FIRST", "END"]  # fmt: skip
    assert lines[1].split() == ["2", "2026-05-02", "10:00", "abcdef012345", "other", "cpu", "failed"]
    assert lines[2].split() == ["1", "2026-05-01", "10:00", "mine", "engine", "cpu", "10", "100", "12.5",
                                "0.25", "s", "stop"]  # fmt: skip


def test_runs_as_json_have_every_figure(run: Run, recorded: Runtime) -> None:
    """The record with its name and its speed."""
    failed, good = run("history", "--json").json

    assert (good["name"], good["tokens_per_second"], good["id"]) == ("mine", 12.5, 1)
    assert (failed["success"], failed["error"], failed["tokens_per_second"]) == (False, "it broke", None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--model", "mine"], [1]),
        (["--model", str(demo_model_path())], [1]),
        (["--model", "abcdef"], [2]),
        (["--backend", "other"], [2]),
        (["--since", "2026-05-02"], [2]),
        (["--since", "1h"], []),
        (["--limit", "1"], [2]),
        (["--limit", "0"], [2, 1]),
        (["--imported"], []),
    ],
)
def test_runs_are_filtered(run: Run, recorded: Runtime, filters: list[str], expected: list[int]) -> None:
    """By model, engine, time and number."""
    recorded.history.saw(inspect(demo_model_path()))
    seen = recorded.history.seen()
    assert len(seen) == 1
    if "abcdef" in filters:
        recorded.history.do(
            lambda c: c.execute(
                "INSERT INTO seen (fingerprint, path, first_seen, last_seen) VALUES (?, '/x.gguf', 't', 't')",
                ("sha256-sampled:abcdef0123456789",),
            ),
            otherwise=None,
        )

    assert [entry["id"] for entry in run("history", "runs", "--json", *filters).json] == expected


def test_failures_and_benchmarks_are_listed(run: Run, recorded: Runtime) -> None:
    """With cause and error, and with figures and verdict; the whole result can be had too."""
    result = {
        "candidates": [
            {
                "model": {"name": "mine", "fingerprint": "f"},
                "backend": "engine",
                "metrics": [{"name": "generate-128", "unit": "tokens/s", "median": 50.0, "stable": True}],
            }
        ]
    }
    number = recorded.history.record_benchmark(result)
    (failure,) = run("history", "failures", "--json").json
    (benchmark,) = run("history", "benchmarks", "--json").json

    assert (failure["cause"], failure["phase"], failure["name"]) == ("crash", "load", "mine")
    assert "SIGSEGV" in run("history", "failures").out
    assert (benchmark["document"], benchmark["generate_speed"], benchmark["stable"]) == (number, 50.0, True)
    assert run("history", "benchmarks").out.splitlines()[1].split()[-2:] == ["50", "stable"]
    assert run("history", "--document", str(number)).json == result


def test_an_empty_history_says_so(run: Run) -> None:
    """On standard error; JSON is an empty list."""
    outcome = run("history")
    assert (outcome.status, outcome.out) == (0, "")
    assert "nothing of this kind" in outcome.err
    assert run("history", "benchmarks", "--json").json == []


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--since", "99999999999w"], ["--document", "7"], ["nonsense"]]
)
def test_what_makes_no_sense_is_bad_usage(run: Run, arguments: list[str]) -> None:
    """Exit status 2, with a hint."""
    outcome = run("history", *arguments)

    assert outcome.status == 2
    assert "try: " in outcome.err


# Models ---------------------------------------------------------------------------------------------------


def test_show_tells_what_is_known_and_measured(run: Run, recorded: Runtime) -> None:
    """Of a model by its name, path or fingerprint."""
    fingerprint = inspect(demo_model_path()).fingerprint
    for model in ("mine", str(demo_model_path()), fingerprint[:30]):
        shown = run("models", "show", model, "--json").json
        assert shown["names"] == ["mine"]
        assert (shown["runs"], shown["failures"], shown["benchmarks"]) == (1, 1, 0)
        assert shown["measured"][0]["tokens_per_second"] == 12.5
    out = run("models", "show", "mine").out

    assert "Measured here" in out
    assert fingerprint in out
    assert "SIGSEGV" in out


def test_show_knows_models_that_never_ran_and_such_that_are_gone(
    run: Run, recorded: Runtime, tmp_path: Path
) -> None:
    """From its file, or from the history."""
    copy = tmp_path / "copy.gguf"
    shutil.copy(demo_model_path(), copy)
    assert run("models", "show", "demo").status == 0
    recorded.history.add_model("gone", copy, inspect(copy))
    copy.unlink()
    assert run("models", "show", "gone").status == 0
    assert run("models", "show", "never-heard-of").status == 1


def test_forget_takes_the_name_and_only_on_request_the_history(run: Run, recorded: Runtime) -> None:
    """A name that does not exist is answered with the nearest one."""
    outcome = run("models", "forget", "mimes")
    assert outcome.status == 2
    assert "mine" in outcome.err
    assert run("models", "forget", "mine").status == 0
    assert len(recorded.history.runs()) == 2
    recorded.history.add_model("again", demo_model_path(), inspect(demo_model_path()))
    assert "2 entries" in run("models", "forget", "again", "--history").out

    assert [entry.id for entry in recorded.history.runs()] == [2]
    assert recorded.history.failures() == []
    assert demo_model_path().exists()


def lay_out(home: Path) -> dict[str, Path]:
    """Models as Ollama and LM Studio keep them, and a part of one; name -> path."""
    digest = "a" * 64
    manifest = home / ".ollama/models/manifests/registry.ollama.ai/library/tiny/1b"
    manifest.parent.mkdir(parents=True)
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}]
    manifest.write_text(json.dumps({"layers": layers}))
    blob = home / f".ollama/models/blobs/sha256-{digest}"
    studio = home / ".lmstudio/models/org/demo-model/demo-q8.gguf"
    for path in (blob, studio):
        path.parent.mkdir(parents=True)
        shutil.copy(demo_model_path(), path)
    (studio.parent / "cut.gguf").write_bytes(b"GGUF" + struct.pack("<I", 3))
    return {"tiny:1b": blob, "demo-q8": studio}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has models already."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in (
        "HF_HOME",
        "HF_HUB_CACHE",
        "OLLAMA_MODELS",
        "LLAMA_CACHE",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    return home


def test_scan_without_a_folder_names_what_is_there(run: Run, user: Path, misbehaving: Any) -> None:
    """Each model then runs by its name, from where it is."""
    paths = lay_out(user)
    outcome = run("models", "scan")
    assert outcome.status == 0
    assert "cut.gguf" in outcome.err
    listed = {model["name"]: model["path"] for model in run("models", "list", "--json").json}
    assert {name: str(path) for name, path in paths.items()}.items() <= listed.items()

    for name in paths:
        done = run("run", name, "hello", "--backend", "sound", "--temperature", "0", "--max-tokens", "1")
        assert (done.status, done.err) == (0, "")
        assert "hello" in done.out


def test_scan_tells_what_it_did_as_json(run: Run, user: Path) -> None:
    """What is new, what was moved, and what is no model."""
    paths = lay_out(user)
    first = {entry["name"]: entry for entry in run("models", "scan", "--json").json}
    assert {name: first[name]["change"] for name in paths} == dict.fromkeys(paths, "added")
    assert first["tiny:1b"]["source"] == "ollama"
    assert first[""]["error"]
    moved = user / ".lmstudio/models/org/demo-model/renamed.gguf"
    paths["demo-q8"].rename(moved)
    second = {entry["name"]: entry for entry in run("models", "scan", "--json").json}

    assert second["demo-q8"]["change"] == "moved"
    assert (second["demo-q8"]["path"], second["demo-q8"]["before"]) == (str(moved), str(paths["demo-q8"]))
    assert second["tiny:1b"]["change"] == ""


def test_scan_can_only_look(run: Run, user: Path) -> None:
    """With --no-add nothing gets a name."""
    lay_out(user)
    assert run("models", "scan", "--no-add").status == 0

    assert Runtime().history.models() == []


def test_where_nothing_is_found_the_folders_are_told(run: Run, user: Path) -> None:
    """So that nobody wonders where it looked."""
    outcome = run("models", "scan")

    assert outcome.status == 0
    assert str(user / ".ollama" / "models") in outcome.out
    assert "(not there)" in outcome.out


# Insights and the wizard ----------------------------------------------------------------------------------


@pytest.fixture
def habits() -> Runtime:
    """A history in which every answer was cut at 256 tokens."""
    runtime = Runtime()
    cut = RunRecord(
        fingerprint="f",
        backend="engine",
        prompt_tokens=9,
        completion_tokens=256,
        generate_seconds=2.56,
        finish_reason="length",
    )
    runtime.history.record_runs([cut] * 12)
    return runtime


def test_insights_name_the_runs_behind_them(run: Run, habits: Runtime) -> None:
    """For people and as JSON; nothing is changed."""
    outcome = run("insights")
    assert "256 tokens were allowed" in outcome.out
    assert "from runs 1-12" in outcome.out
    assert "modelplug wizard" in outcome.err
    (suggestion,) = run("insights", "--json").json["suggestions"]

    assert suggestion["changes"] == {"generation.max_tokens": 512}
    assert sorted(suggestion["runs"]) == list(range(1, 13))
    assert not habits.paths.config_file.exists()


def test_without_a_history_there_are_no_insights(run: Run) -> None:
    """That is said, and is no failure."""
    assert run("insights").out == "nothing to suggest (no runs yet)\n"
    assert run("wizard").status == 0


def test_the_wizard_changes_nothing_by_itself(run: Run, habits: Runtime) -> None:
    """Where nobody can be asked, it only shows."""
    outcome = run("wizard")

    assert "- generation.max_tokens: null" in outcome.out
    assert "+ generation.max_tokens: 512" in outcome.out
    assert "from runs 1-12" in outcome.out
    assert "modelplug wizard --yes" in outcome.err
    assert run("wizard", "--json").json["applied"] is False
    assert not habits.paths.config_file.exists()


class Terminal(io.StringIO):
    """A person at a terminal, who types something."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("answer", "applied"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_the_wizard_asks_on_a_terminal(
    run: Run, habits: Runtime, monkeypatch: pytest.MonkeyPatch, answer: str, applied: bool
) -> None:
    """And takes anything but a yes for a no."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run("wizard").status == 0

    assert habits.paths.config_file.exists() == applied


def test_the_wizard_applies_on_request_and_tells_how_to_undo(run: Run, habits: Runtime) -> None:
    """The line it prints brings the settings back."""
    outcome = run("wizard", "--yes")
    assert Runtime().config.settings.generation.max_tokens == 512
    undo = outcome.out.splitlines()[-1].split()
    assert undo[0] == "modelplug"
    assert run(*undo[1:]).status == 0

    assert Runtime().config.settings.generation.max_tokens is None
    again = run("wizard", "--yes", "--json").json
    assert (again["applied"], again["undo"]) == (True, ["modelplug config unset generation.max_tokens"])


# The monitor ----------------------------------------------------------------------------------------------


def test_the_monitor_shows_what_runs_in_another_program(run: Run, misbehaving: Any) -> None:
    """A model that another process has loaded, with its figures, once and as a stream."""
    with load("demo", backend="sound") as model:
        model.complete("a", FEW)
        pid = model.engine.process.pid  # type: ignore[attr-defined]
        done = subprocess.run(
            [sys.executable, "-m", "modelplug", "monitor", "--json", "--count", "2", "--interval", "0.1"],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        table = run("monitor", "--once").out.splitlines()

    assert len(lines) == 2
    for line in lines:
        (seen,) = line["models"]
        assert (seen["pid"], seen["backend"], seen["requests"], seen["completion_tokens"]) == (
            pid,
            "sound",
            1,
            3,
        )
        assert seen["resident_bytes"] > 1_000_000
        assert seen["cpu_percent"] is not None
    assert table[0].split()[:5] == ["PID", "MODEL", "BACKEND", "DEVICE", "STATE"]
    assert table[1].split()[:5] == [str(pid), "demo", "sound", "cpu", "idle"]


def test_the_monitor_draws_live_on_a_terminal(misbehaving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is drawn anew at each look."""
    from rich.console import Console

    from modelplug.cli import monitor
    from modelplug.history.monitor import WorkerSampler

    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("rich.live.get_console", lambda: console)
    with load("demo", backend="sound") as model:
        model.complete("a", FEW)
        sampler = WorkerSampler(Runtime().paths.workers)
        monitor._show_live(iter([sampler.sample(), sampler.sample()]))
    monitor._show_live(iter([sampler.sample()]))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]

    assert drawn.count("sound") >= 2
    assert "no model is loaded" in drawn


def test_where_nothing_runs_the_monitor_says_so(run: Run) -> None:
    """And ends, where the output is no terminal."""
    outcome = run("monitor")
    assert (outcome.status, outcome.out) == (0, "")
    assert "no model is loaded" in outcome.err
    assert run("monitor", "--once", "--json").json["models"] == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_is_how_the_monitor_ends() -> None:
    """A stream that is interrupted has whole lines, and the exit status is 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "modelplug", "monitor", "--json", "--interval", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["models"] == []
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]

    assert process.returncode == 0
    assert all(json.loads(line) for line in rest.splitlines())


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")]
)
def test_ages_are_told_in_words(seconds: float, shown: str) -> None:
    """Seconds, minutes, hours."""
    from modelplug.cli.monitor import _age

    assert _age(seconds) == shown
