"""A configuration file says everything about a run, and what it says that nothing knows is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modelplug.documents import DocumentSyntaxError
from resnet_bk.training import ConfigFileError, TrainingConfig, read_config_file

FILE = """\
# Everything about a run.
resnet_bk: '1.0'
model:
  d_model: 32   # narrow
  feed_forward: [none, swiglu]
training:
  steps: 3
  recovery:
    attempts: 1
data:
  texts: [a.txt]
  dataset: a
checkpoint:
  save_dir: runs/a
monitoring:
  project_name: x
quantization:
  bits: 8
extras:
  anything: [1, {at: all}]
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file."""

    def make(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return make


def test_every_section_is_read(write: Write) -> None:
    """Names for people, quantization and extras are for others."""
    found = read_config_file(write(FILE))
    assert found.model == {"d_model": 32, "feed_forward": ["none", "swiglu"]}
    assert found.training == {"steps": 3, "recovery": {"attempts": 1}}
    assert TrainingConfig.from_dict(found.training).recovery.attempts == 1
    assert (found.data, found.output) == ({"texts": ["a.txt"]}, Path("runs/a"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"resnet_bk": "1.0", "model": {"d_model": 32}}'),
        ("a.toml", 'resnet_bk = "1.0"\n[model]\nd_model = 32\n'),
        ("a.yml", "resnet_bk: 1.0\nmodel: {d_model: 32}\n"),
        ("log.json", '{"config": {"resnet_bk": "1.0.0", "model": {"d_model": 32}}, "losses": [1, 2]}'),
    ],
)
def test_json_toml_and_logs_are_read_as_well(write: Write, name: str, text: str) -> None:
    """Whatever holds a configuration of 1.0, even beside other things."""
    assert read_config_file(write(text, name)).model == {"d_model": 32}


def test_a_base_says_what_the_file_does_not(write: Write) -> None:
    """By its path from the file; nested settings are taken over one by one."""
    write(FILE, "bases/common.yaml")
    write("resnet_bk: '1.0'\n_base_: common.yaml\nmodel: {d_model: 64}\n", "bases/wide.yaml")
    path = write(
        "resnet_bk: '1.0'\n_base_: bases/wide.yaml\ntraining: {recovery: {window: 9}}\ndata: {texts: [b]}\n"
    )
    found = read_config_file(path)
    assert found.model == {"d_model": 64, "feed_forward": ["none", "swiglu"]}
    assert found.training == {"steps": 3, "recovery": {"attempts": 1, "window": 9}}
    assert (found.data, found.output) == ({"texts": ["b"]}, Path("runs/a"))


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "near"),
    [
        ("  d_model: 32", "  d_modle: 32", 4, "model.d_modle", "d_model"),
        ("  d_model: 32", "  dropout_p: 0", 4, "model.dropout_p", "dropout"),
        ("  d_model: 32", "  d_model: 0", 4, "model.d_model", ""),
        ("  d_model: 32", "  d_model: '32'", 4, "model.d_model", ""),
        ("  steps: 3", "  stepz: 3", 7, "training.stepz", "steps"),
        ("  steps: 3", "  steps: 0", 7, "training.steps", ""),
        ("    attempts: 1", "    atempts: 1", 9, "training.recovery.atempts", "attempts"),
        ("    attempts: 1", "    attempts: -1", 9, "training.recovery.attempts", ""),
        ("  texts: [a.txt]", "  texts: a.txt", 11, "data.texts", ""),
        ("  texts: [a.txt]", "  text: [a.txt]", 11, "data.text", "texts"),
        ("  save_dir: runs/a", "  savedir: runs/a", 14, "checkpoint.savedir", "save_dir"),
        ("  project_name: x", "  project: x", 16, "monitoring.project", "project_name"),
        ("  bits: 8", "  bits: 64", 18, "quantization.bits", ""),
        ("quantization:", "quantisation:", 17, "quantisation", "quantization"),
        ("# Everything", "checkpoints: {}\n#", 1, "checkpoints", "checkpoint"),
        ("# Everything", "_base_: 3\n#", 1, "_base_", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    write: Write, old: str, new: str, line: int, key: str, near: str
) -> None:
    """And with the name that was probably meant."""
    assert old in FILE
    with pytest.raises(ConfigFileError) as caught:
        read_config_file(write(FILE.replace(old, new)))
    (problem,) = caught.value.problems
    assert (problem["line"], problem["key"], problem["nearest"]) == (line, key, near)
    assert f"line {line}: {key} = " in caught.value.why
    assert (f"did you mean {near}?" in caught.value.why) == bool(near)
    assert json.dumps(caught.value.to_dict())


def test_all_that_is_wrong_is_named_at_once(write: Write) -> None:
    """Nobody has to try again and again."""
    with pytest.raises(ConfigFileError) as caught:
        read_config_file(write("resnet_bk: '1.0'\nmodel: {a: 1, d_model: x}\ntraining: 3\nb: 1\n"))
    assert [problem["key"] for problem in caught.value.problems] == [
        "model.a",
        "model.d_model",
        "training",
        "b",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "model: {d_model: 32}\n", "modelplug migrate plan"),
        ("a.yaml", "- 1\n", "no configuration of version 1.0"),
        ("a.yaml", "resnet_bk: '0.9'\n", "of version 0.9"),
        ("a.json", '{"model_type": "resnet_bk", "mixer": "green"}', "--model"),
        ("a.txt", FILE, "ends in none of"),
        ("a.yaml", "resnet_bk: '1.0'\n_base_: a.yaml\n", "in a circle"),
        ("a.yaml", "resnet_bk: '1.0'\n_base_: b.yaml\n", "can't be read"),
    ],
)
def test_files_that_are_no_configuration_of_this_version(
    write: Write, name: str, text: str, words: str
) -> None:
    """What the file is, and what to do with it."""
    with pytest.raises(ConfigFileError) as caught:
        read_config_file(write(text, name))
    assert words in f"{caught.value} {caught.value.why} {caught.value.advice}"
    assert caught.value.exit_code == 2


def test_a_faulty_base_is_named_itself(write: Write) -> None:
    """Not the file that takes over from it."""
    base = write("resnet_bk: '1.0'\nmodel: {x: 1}\n", "base.yaml")
    with pytest.raises(ConfigFileError) as caught:
        read_config_file(write("resnet_bk: '1.0'\n_base_: base.yaml\n"))
    assert caught.value.path == base


def test_a_broken_text_is_no_traceback(write: Write) -> None:
    """The line is named."""
    with pytest.raises(DocumentSyntaxError) as caught:
        read_config_file(write("resnet_bk: '1.0'\nmodel: {d_model: 32\n"))
    assert caught.value.line is not None
