"""`modelplug migrate check-config`: what is wrong with a configuration, line by line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

MARK = "resnet_bk: '1.0'\n"
MODEL = f"{MARK}model:\n  d_model: 64\n  n_layers: 2\n"


def errors(found: list[Any]) -> list[Any]:
    """The issues that make a configuration invalid."""
    return [issue for issue in found if issue.severity.value == "error"]


def test_a_good_configuration_has_no_issue(configs: Any) -> None:
    """Every section may be there, and extras may hold anything."""
    text = (
        f"{MODEL}  feed_forward: swiglu\ntraining:\n  steps: 10\n  recovery:\n    window: 5\n"
        "data:\n  texts: [a.txt]\n  dataset: mine\ncheckpoint:\n  save_dir: run\n"
        "monitoring:\n  project_name: x\nquantization:\n  bits: 8\nextras:\n  whatever: {a: 1}\n"
    )
    assert configs.check(text) == []


@pytest.mark.parametrize(
    ("line", "nearest", "advice"),
    [
        ("  d_modle: 3", "d_model", "Did you mean d_model?"),
        ("  max_grad_norm: 1.0", "training.gradient_clip", "It is called training.gradient_clip in 1.0."),
        ("  use_bitnet: true", "", "full precision"),
        ("  qqqq: 1", "", "keep it under extras"),
        ("  manual_seed: 1", "training.seed", "It is called training.seed"),
    ],
)
def test_an_unknown_key_is_an_error(configs: Any, line: str, nearest: str, advice: str) -> None:
    """The line, the nearest name and what to do are given."""
    (issue,) = errors(configs.check(f"{MODEL}{line}\n"))
    assert issue.line == 5
    assert issue.nearest == nearest
    assert advice in issue.advice
    assert "there is no such setting" in issue.message


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (f"{MODEL}  dropout: 2\n", 5, "at most 1"),
        (f"{MODEL}  mixer: red\n", 5, "one of green, diagonal, diagonal-bidirectional"),
        (f"{MODEL}  use_semiseparable: false\n", 5, "one of True"),
        (f"{MODEL}  vocab_size: '100'\n", 5, "whole number"),
        (f"{MODEL}training: fast\n", 5, "a section belongs here"),
        (f"{MODEL}trainig:\n  steps: 1\n", 5, "no such setting"),
        (f"{MODEL}training:\n  recovery:\n    windw: 3\n", 7, "no such setting"),
        (f"{MODEL}  num_experts: 2\n  top_k: 4\n", 6, "more than the 2 experts"),
        (f"{MODEL}  value_dim: 48\n", 5, "does not divide"),
        (f"{MODEL}  feed_forward: [none]\n", 5, "names 1 layers"),
        (f"{MODEL}  feed_forward: experts\n", None, "does not go with"),
        (f"{MODEL}  free_heads: 9\n", 5, "more than the 4 heads"),
        (f"{MODEL}  free_heads: 4\n  use_prime_bump: true\n", 5, "adds to the potential"),
        (f"{MARK}_base_: nowhere.yaml\n", 2, "no such configuration"),
    ],
)
def test_what_makes_no_sense_is_an_error(configs: Any, text: str, line: int | None, part: str) -> None:
    """Types, limits, words and contradictions are found, each with its line."""
    (issue,) = errors(configs.check(text))
    assert issue.line == line
    assert part in issue.message


def test_a_base_of_an_earlier_version_is_an_error(configs: Any) -> None:
    """The two would be read in different ways."""
    configs.put("d_model: 64\nn_layers: 2\nuse_lap: true\n", "base.yaml")
    (issue,) = errors(configs.check(f"{MARK}_base_: base.yaml\nmodel:\n  n_seq: 64\n"))
    assert "earlier version" in issue.message
    assert "modelplug migrate plan" in issue.advice


def test_contradictions_with_the_base_are_found(configs: Any) -> None:
    """What the base says counts where the file itself says nothing."""
    configs.put(f"{MODEL}  num_experts: 8\n  top_k: 4\n", "base.yaml")
    (issue,) = errors(configs.check(f"{MARK}_base_: base.yaml\nmodel:\n  num_experts: 2\n"))
    assert "top_k = 4" in issue.message


def test_numbers_that_others_take_for_text_are_a_warning(configs: Any) -> None:
    """With the spelling that every program reads."""
    (issue,) = configs.check(f"{MODEL}training:\n  learning_rate: 1e-4\n")
    assert (issue.severity.value, issue.line) == ("warning", 6)
    assert "1.0e-4" in issue.advice


def test_settings_that_change_nothing_are_noted(configs: Any) -> None:
    """They are valid, and their owner should know."""
    (issue,) = configs.check(f"{MODEL}  use_act: true\n")
    assert (issue.severity.value, issue.line) == ("note", 5)


def test_the_configuration_of_a_model_is_checked(configs: Any) -> None:
    """`config.json` is flat, and holds names of transformers as well."""
    values = {
        "model_type": "resnet_bk",
        "mixer": "green",
        "d_model": 64,
        "n_layers": 2,
        "architectures": ["x"],
    }
    assert configs.check(values, "config.json") == []
    (issue,) = configs.check({**values, "dropout": 3}, "config.json")
    assert issue.key == "dropout"
    assert issue.line == 9


# The command line ----------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and output of the program."""
    with pytest.raises(SystemExit) as end:
        main(["migrate", "check-config", *map(str, arguments)])
    code = end.value.code
    return int(code or 0), capsys.readouterr().out


def test_the_exit_status_says_whether_it_is_valid(configs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for a valid configuration, notes included; 1 for any other."""
    assert run(capsys, configs.put(f"{MODEL}  use_act: true\n"))[0] == 0
    status, out = run(capsys, configs.put(f"{MODEL}  d_modle: 3\n"))
    assert status == 1
    assert "line 5: model.d_modle = 3" in out
    assert "try: Did you mean d_model?" in out


def test_an_older_configuration_is_checked_for_deprecated_names(
    configs: Any, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each older name has its line and its new name, and the way on is named."""
    status, out = run(capsys, samples / "f1_base.yaml")
    assert status == 1
    assert "line 37: training.max_grad_norm is training.gradient_clip in 1.0" in out
    assert "line 23: model.precision_upgrade_threshold = 1.0e6" in out
    assert "modelplug migrate plan" in out


def test_what_is_no_configuration_is_said_to_be_none(
    samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what it is instead."""
    status, out = run(capsys, samples / "f6_datasets.yaml")
    assert status == 1
    assert "a list of datasets" in out


def test_everything_is_there_as_json(configs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same, in the same order."""
    path = configs.put(f"{MODEL}  dropuot: 3\ntraining:\n  steps: 0\n")
    status, out = run(capsys, "--json", path)
    (file,) = json.loads(out)["files"]
    assert status == 1
    assert (file["path"], file["family"], file["version"], file["valid"]) == (
        str(path), "resnet-bk", "1.0", False,
    )  # fmt: skip
    assert [(issue["line"], issue["nearest"]) for issue in file["issues"]] == [(5, "dropout"), (7, "")]
