"""`modelplug test`, as typed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug import Runtime
from modelplug.cli.main import main
from modelplug.data import demo_model_path

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(speaking: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, in this process: exit status, output, and what it said beside it."""

    def run_program(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["test", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return run_program


def told(**backends: dict[str, Any]) -> None:
    """Write settings of these backends."""
    runtime = Runtime()
    for backend, settings in backends.items():
        for name, value in settings.items():
            runtime.config.set(f"backends.{backend}.{name}", value)
    runtime.config.save()
    runtime.history.close()


def strictly(text: str) -> Any:
    """The text as JSON, without what only Python takes for it."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_model_that_works_is_a_row(run: Run) -> None:
    """Model, backend, result, speed and checks are in a table, and the status is 0."""
    told(alpha={"probabilities": "sound"})
    status, out, err = run("demo")
    header, row, *rest = out.splitlines()

    assert (status, err) == (0, "")
    assert header.split() == ["MODEL", "BACKEND", "RESULT", "TOKENS/S", "CHECKS"]
    assert row.split()[:3] == ["demo", "alpha", "ok"]
    assert row.endswith("finite, non-empty, deterministic")
    assert rest == ["", "1 of 1 passed."]


def test_what_was_not_checked_is_no_success(run: Run) -> None:
    """A check that could not be made is marked, and it is said why."""
    status, out, _ = run("demo")

    assert status == 0
    assert "finite (not checked), non-empty, deterministic" in out
    assert "The engine does not tell log probabilities." in out


def test_failures_are_explained_and_end_with_status_1(run: Run, tmp_path: Path) -> None:
    """A missing model, a crash with the engine's last words: each has a row, a reason and what to type."""
    told(alpha={"fault": "crash", "only": "crashing"})
    crashing = tmp_path / "a crashing model.gguf"
    shutil.copyfile(demo_model_path(), crashing)
    status, out, _ = run("nowhere.gguf", str(crashing), "demo")
    flat = " ".join(out.split())

    assert status == 1
    assert "there is no model 'nowhere.gguf'" in flat
    assert "SIGSEGV" in flat
    assert out.count("try: ") == 2
    assert out.splitlines()[-1] == "1 of 3 passed."


def test_the_advice_can_be_typed(run: Run, tmp_path: Path) -> None:
    """A path with blanks stands in quotes."""
    told(alpha={"fickle": True})
    model = tmp_path / "my model.gguf"
    shutil.copyfile(demo_model_path(), model)
    _, out, _ = run(str(model), "--json")

    assert f"`modelplug test '{model}' --all-backends`" in strictly(out)["results"][0]["suggestion"]


def test_all_backends_are_compared(run: Run) -> None:
    """`--all-backends` tests each, and says that they give the same tokens."""
    status, out, _ = run("demo", "--all-backends", "--tokens", "7")

    assert status == 0
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["alpha", "beta", "gamma"]
    assert "alpha, beta and gamma give the same 14 tokens." in out


def test_engines_that_disagree_end_with_status_1(run: Run) -> None:
    """It is said which one stands out, where, both texts, and that rounding does not explain it."""
    sure = {"probabilities": "sound", "rival": "six"}
    told(alpha=sure, gamma=sure, beta={**sure, "text": "one two six", "rival": "three"})
    status, out, _ = run("demo", "--all-backends")
    flat = " ".join(out.split())

    assert status == 1
    assert "beta disagrees with alpha and gamma from token 3 on:" in flat
    assert "alpha and gamma: 'one two three" in flat
    assert "beta: 'one two six" in flat
    assert "different rounding does not explain it" in flat
    assert "3 of 3 passed. Engines disagree on demo" in flat


def test_a_close_call_is_status_0(run: Run) -> None:
    """What different rounding explains is told, and is no failure."""
    told(
        alpha={"probabilities": "tied", "rival": "six"},
        beta={"probabilities": "tied", "text": "one two six", "rival": "three"},
    )
    status, out, _ = run("demo", "--backend", "alpha", "--backend", "beta")
    flat = " ".join(out.split())

    assert status == 0
    assert "beta and alpha disagree from token 3 on" in flat
    assert "different rounding explains it" in flat


def test_with_one_engine_there_is_nothing_to_compare(run: Run) -> None:
    """That is said where it was asked for."""
    told(beta={"enabled": False}, gamma={"enabled": False})
    _, out, _ = run("demo", "--all-backends")

    assert "no other engine has answered with this model" in " ".join(out.split())


def test_json_has_everything(run: Run) -> None:
    """The output is one document, unknown figures are null, and an error has all of its parts."""
    told(alpha={"text": ""})
    status, out, _ = run("demo", "nowhere.gguf", "--json")
    report = strictly(out)
    silent, missing = report["results"]

    assert status == 1
    assert (report["schema"], report["version"], report["success"]) == ("modelplug-test", 1, False)
    assert silent["failure"]["cause"] == "empty-output"
    assert silent["failure"]["exit_code"] == 1
    assert [check["outcome"] for check in silent["checks"]] == ["not checked", "failed", "passed"]
    assert missing["tokens_per_second"] is None
    assert missing["failure"]["error"] == "ModelNotFoundError"
    assert "answers" not in silent


def test_registered_models_are_tested_by_default(run: Run, tmp_path: Path) -> None:
    """Without names these are all that have one."""
    runtime = Runtime()
    runtime.history.add_model("mine", demo_model_path())
    runtime.history.add_model("gone", tmp_path / "gone.gguf")
    runtime.history.close()
    status, out, _ = run("--json")

    assert status == 1
    assert [(r["model"], r["success"]) for r in strictly(out)["results"]] == [("gone", False), ("mine", True)]


def test_settings_reach_the_engine(run: Run) -> None:
    """`--set` and the others are those of `bench`."""
    status, out, _ = run("demo", "--set", "text=", "--json")

    assert status == 1
    assert "says nothing" in strictly(out)["results"][0]["error"]


def test_nothing_suitable_is_status_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no engine is installed for any of the models, the status says that; otherwise it is 1."""
    monkeypatch.setenv("MODELPLUG_PLUGINS", "none-of-them")

    assert run("demo")[0] == 3
    assert run("demo", "nowhere.gguf")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("demo", "--backend", "alhpa"), "Did you mean 'alpha'?"),
        (("demo", "--backend", "alpha", "--all-backends"), "exclude each other"),
        (("demo", "--tokens", "0"), "0 is not in the range"),
        (("demo", "--timeout", "0"), "0.0 is not in the range"),
        (("demo", "--set", "nonsense"), "is not NAME=VALUE"),
    ],
)
def test_mistakes_are_status_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    """Nothing is loaded, and the message names the mistake."""
    status, _, err = run(*arguments)

    assert status == 2
    assert says in err


def test_ctrl_c_shows_what_was_done(speaking: None, own_home: Path, tmp_path: Path) -> None:
    """The finished rows are printed, the others named; status 130, and no worker is left."""
    slow = tmp_path / "slow.gguf"
    shutil.copyfile(demo_model_path(), slow)
    told(alpha={"fault": "hang", "only": "slow", "journal": str(tmp_path / "journal")})
    with subprocess.Popen(
        [sys.executable, "-m", "modelplug", "test", "demo", str(slow), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        appeared = _appears(tmp_path / "journal", "hang")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=100)
    report = strictly(out)

    assert appeared
    assert process.returncode == 130
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err
    assert report["interrupted"]
    assert [result["label"] for result in report["results"]] == ["demo on alpha"]
    assert report["untested"] == ["slow.gguf on alpha"]


def _appears(journal: Path, line: str) -> bool:
    """Whether the line appears in the journal in time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.exists() and line in journal.read_text():
            return True
        time.sleep(0.05)
    return False
