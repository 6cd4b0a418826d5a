"""`modelplug optimize`, as typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from modelplug import ConfigManager
from modelplug.cli.context import App
from modelplug.cli.main import main

Run = Callable[..., tuple[int, str, str]]
OPTIMIZE = ("optimize", "demo", "--backend", "sound")


@pytest.fixture
def run(four_cores: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The program, in this process and on that machine: exit status, output, and what it said beside it."""
    monkeypatch.setattr(App, "runtime", four_cores)

    def run_program(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return run_program


@pytest.fixture
def two_threads_are_best(machine: Any) -> Any:
    """A machine on which the echo is fastest with two threads."""
    machine.rate = lambda settings: 150.0 if settings.get("threads") == 2 else 100.0
    return machine


def test_a_gain_is_shown_and_not_applied(two_threads_are_best: Any, run: Run, four_cores: Any) -> None:
    """Everything tried, the figures with their intervals, the change as a diff, and what to type for it."""
    status, out, err = run(*OPTIMIZE)

    assert status == 0
    assert "demo on sound, for the speed of generating" in out
    assert "as they are" in out
    assert "Measured in turn: threads=2 (benchmark 1 in the history)" in out
    assert "- backends.sound.threads: null\n+ backends.sound.threads: 2" in out
    assert "modelplug config set backends.sound.threads '2'" in err
    assert not four_cores.config.path.exists()


def test_a_gain_is_applied_and_undone(two_threads_are_best: Any, run: Run, four_cores: Any) -> None:
    """--apply writes it; the lines that are printed take it back."""
    four_cores.config.set("backends.sound.threads", 3)
    four_cores.config.save()
    before = four_cores.config.path.read_bytes()
    status, out, _ = run(*OPTIMIZE, "--apply")

    assert status == 0
    assert ConfigManager().get("backends.sound.threads") == 2
    (undo,) = [line for line in out.splitlines() if line.startswith("  modelplug config")]
    status, _, _ = run(*shlex.split(undo)[1:])
    assert status == 0
    assert four_cores.config.path.read_bytes() == before


def test_without_a_gain_nothing_is_applied(machine: Any, run: Run, four_cores: Any) -> None:
    """Even if it was asked for; the reason has the figures."""
    status, out, _ = run(*OPTIMIZE, "--apply")

    assert status == 0
    assert "Nothing to change" in out
    assert "no evidence of a gain" in " ".join(out.split())
    assert not four_cores.config.path.exists()


def test_the_proposal_as_json(two_threads_are_best: Any, run: Run) -> None:
    """One object with the changes, the evidence for them, and what was left out."""
    status, out, _ = run(*OPTIMIZE, "--json")
    found = json.loads(out)

    assert status == 0
    assert (found["improves"], found["applied"], found["undo"]) == (True, False, [])
    assert [(change["key"], change["new"]) for change in found["changes"]] == [("backends.sound.threads", 2)]
    assert 40 < found["gain"]["low"] < found["gain"]["high"] < 60
    assert found["tried"][0]["settings"] == {}
    assert found["benchmark"] == 1
    assert {"use_mmap", "kv_type", "context_size"} <= {left_out["what"] for left_out in found["left_out"]}

    status, out, _ = run(*OPTIMIZE, "--json", "--apply")
    assert json.loads(out)["applied"] is True
    assert json.loads(out)["undo"] == ["modelplug config unset backends.sound.threads"]


@pytest.mark.parametrize("number", [4, 30])
def test_ctrl_c_shows_what_was_measured(
    two_threads_are_best: Any, run: Run, four_cores: Any, number: int
) -> None:
    """The status is 130, and --apply writes nothing."""

    def interrupt(count: int) -> None:
        if count == number:
            raise KeyboardInterrupt

    two_threads_are_best.on_round = interrupt
    status, out, err = run(*OPTIMIZE, "--apply")

    assert status == 130
    assert "as they are" in out
    assert "ended early" in out
    assert "interrupted" in err
    assert not four_cores.config.path.exists()


def test_ctrl_c_before_anything_is_measured(machine: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to show."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelplug.benchmark.optimizing.optimizer.choose_candidates", interrupt)
    status, out, err = run(*OPTIMIZE)

    assert (status, out) == (130, "")
    assert "interrupted" in err


def test_a_benchmark_of_settings_can_be_compared_with(
    two_threads_are_best: Any, run: Run, four_cores: Any
) -> None:
    """`compare` measures both sets of settings again, each against itself."""
    run(*OPTIMIZE)
    status, out, _ = run("compare", "1", "--json")
    labels = [candidate["label"] for candidate in json.loads(out)["candidates"]]

    assert status == 0
    assert labels == ["demo on sound, as they are", "demo on sound, threads=2"]
    assert two_threads_are_best.rounds[-2:] == [{}, {"threads": 2}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--goal", "speed"), "goal"),
        (("--budget", "0"), "budget"),
        (("--least-context", "0"), "least-context"),
    ],
)
def test_nonsense_is_bad_usage(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """The status is 2, and the option is named."""
    status, _, err = run(*OPTIMIZE, *arguments)

    assert status == 2
    assert message in err
