"""`resnet-bk train`, from text to a model that transformers loads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.cli import train as train_module
from resnet_bk.cli.stopping import StopSignals
from resnet_bk.training.metrics import read_metrics

Invoke = Callable[..., Any]


def weights(path: Path) -> dict[str, numpy.ndarray[Any, Any]]:
    """The tensors in a checkpoint."""
    from safetensors.numpy import load_file

    return dict(load_file(path / "model.safetensors"))


def test_from_text_to_a_model_that_transformers_loads(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """One command makes tokenizer and model, trains, and leaves a folder that is complete."""
    outcome = invoke("train", text_file, "--output", tmp_path / "run", *quick, "--steps", 60, "--json")
    assert outcome.status == 0, outcome.err
    assert "step 60/60" in outcome.err
    result = json.loads(outcome.out)
    assert result["best_validation_loss"] < 3.5 < numpy.log(280)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(result["checkpoint"])
    tokenizer = AutoTokenizer.from_pretrained(result["checkpoint"])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = tokenizer("the cat sat on", return_tensors="pt")["input_ids"]
    stored = weights(Path(result["checkpoint"]))["model.embed_tokens.weight"]
    assert numpy.array_equal(model.model.embed_tokens.weight.detach().numpy(), stored)
    with torch.no_grad():
        assert model(ids).logits.shape[-1] == len(tokenizer) == 280


def test_resume_needs_nothing_but_the_folder_and_is_exact(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not typed again is as it was, and the end is that of a run without a break."""
    whole = invoke("train", text_file, "-o", tmp_path / "whole", *quick, "--checkpoint-every", 4, "--json")
    assert whole.status == 0, whole.err
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for checkpoint in CheckpointManager(tmp_path / "cut" / "checkpoints").checkpoints():
        if checkpoint.step > 4:
            shutil.rmtree(checkpoint.path)
    monkeypatch.chdir(tmp_path)
    resumed = invoke("train", "--resume", "-o", "cut", "--json")
    assert resumed.status == 0, resumed.err
    assert "going on from step 4" in resumed.err
    one, other = (json.loads(outcome.out) for outcome in (whole, resumed))
    first, second = weights(Path(one["checkpoint"])), weights(tmp_path / other["checkpoint"])
    assert all(numpy.array_equal(first[name], second[name]) for name in first)
    longer = invoke("train", "--resume", "-o", "cut", "--steps", 14, "--json")
    assert json.loads(longer.out)["step"] == 14


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_saves_a_checkpoint_and_ends(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is 130, what was trained is kept, and the way to go on is shown."""
    calls = 0

    def interrupt(self: StopSignals) -> bool:
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return self.asked

    monkeypatch.setattr(StopSignals, "__call__", interrupt)
    before = signal.getsignal(signal.SIGINT)
    outcome = invoke("train", text_file, "-o", tmp_path / "run", *quick)
    assert outcome.status == 130, outcome.err
    assert signal.getsignal(signal.SIGINT) is before
    assert CheckpointManager(tmp_path / "run" / "checkpoints").load().step == 5
    assert f"resnet-bk train --resume --output {tmp_path / 'run'}" in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_second_signal_interrupts_at_once() -> None:
    """Who is in a hurry types it twice."""
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_goes_on_from_weights(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """A folder with weights is where the next run begins, with its own tokenizer."""
    first = json.loads(invoke("train", text_file, "-o", tmp_path / "a", *quick, "--steps", 60, "--json").out)
    options = [*quick, "--steps", 1, "--learning-rate", 1e-9, "--json"]
    options[1] = first["checkpoint"]
    outcome = invoke("train", text_file, "-o", tmp_path / "b", "--tokenizer", first["checkpoint"], *options)
    assert outcome.status == 0, outcome.err
    second = json.loads(outcome.out)
    assert second["validation_loss"] == pytest.approx(first["validation_loss"], abs=1e-3)


def test_entries_of_the_configuration_can_be_set(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """By name; a name there is not is an error."""
    outcome = invoke(
        "train", text_file, "-o", tmp_path / "run", *quick, "--steps", 1, "--set", "hidden_size=24", "--json"
    )
    checkpoint = Path(json.loads(outcome.out)["checkpoint"])
    assert json.loads((checkpoint / "config.json").read_text())["hidden_size"] == 24
    outcome = invoke("train", text_file, "-o", tmp_path / "x", *quick, "--set", "hiden_size=24")
    assert outcome.status == 2
    assert "no hiden_size" in outcome.err


def test_without_a_configuration_it_is_a_resnet_bk(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """With the learning rate and batch that its configuration has, unless they are given."""
    size = ["--set", "d_model=32", "--set", "n_layers=1", "--set", "n_seq=16", "--set", "batch_size=6"]
    options = [*quick[2:4], "--steps", 2, "--sequence-length", 16, "--device", "cpu", "--log-every", 1]
    outcome = invoke("train", text_file, "-o", tmp_path / "run", *options, *size, "--json")
    assert outcome.status == 0, outcome.err
    written = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (written["learning_rate"], written["batch_size"]) == (4e-3, 6)
    config = json.loads((Path(json.loads(outcome.out)["checkpoint"]) / "config.json").read_text())
    assert (config["model_type"], config["d_model"], config["vocab_size"]) == ("resnet_bk", 32, 280)
    again = invoke("train", "--resume", "-o", tmp_path / "run", "--steps", 3, "--json")
    assert json.loads(again.out)["step"] == 3
    outcome = invoke("train", text_file, "-o", tmp_path / "x", *options, "--set", "d_modell=32")
    assert outcome.status != 0
    assert "d_model" in outcome.err
    assert "Traceback" not in outcome.err


def test_settings_come_from_a_file_and_options_go_before_them(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """The file may hold everything the API knows, nested settings too."""
    (tmp_path / "s.json").write_text(
        json.dumps({"seed": 5, "warmup": 0.2, "recovery": {"attempts": 1}, "steps": 9})
    )
    outcome = invoke("train", text_file, "-o", tmp_path / "run", *quick, "--settings", tmp_path / "s.json")
    assert outcome.status == 0, outcome.err
    written = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (written["seed"], written["warmup"], written["recovery"]["attempts"]) == (5, 0.2, 1)
    assert written["steps"] == 12
    (tmp_path / "bad.json").write_text('{"stesp": 1}')
    outcome = invoke(
        "train", text_file, "-o", tmp_path / "y", *quick, "--settings", tmp_path / "bad.json", "--json"
    )
    assert outcome.status == 2
    assert "Did you mean steps?" in json.loads(outcome.out)["advice"]


def test_a_configuration_says_everything_about_a_run(
    invoke: Invoke, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, training, data and folder; what is typed goes before it, and --resume needs nothing of it."""
    (tmp_path / "run.yaml").write_text(
        "resnet_bk: '1.0'\n"
        "model: {vocab_size: 280, d_model: 32, n_layers: 2, n_seq: 16}\n"
        "training: {steps: 4, batch_size: 4, sequence_length: 16, learning_rate: 0.01, device: cpu,\n"
        "  warmup: 0.5}\n"
        f"data: {{texts: [{text_file.name}], validation_fraction: 0.2}}\n"
        "checkpoint: {save_dir: runs/a}\n"
    )
    monkeypatch.chdir(tmp_path)
    changes = ["--set", "n_layers=1", "--set", "vocab_size=270"]
    outcome = invoke("train", "--config", "run.yaml", *changes, "--steps", 2, "--json")
    assert outcome.status == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["step"] == 2
    written = json.loads(Path("runs/a/training.json").read_text())
    names = ("steps", "batch_size", "sequence_length", "learning_rate", "device", "warmup")
    assert tuple(written[name] for name in names) == (2, 4, 16, 0.01, "cpu", 0.5)
    config = json.loads((Path(result["checkpoint"]) / "config.json").read_text())
    assert (config["vocab_size"], config["d_model"], config["n_layers"]) == (270, 32, 1)
    assert json.loads(Path("runs/a/run.json").read_text())["data"]["vocabulary"] == 270
    (tmp_path / "run.yaml").unlink()
    again = invoke("train", "--resume", "-o", "runs/a", "--steps", 3, "--json")
    assert again.status == 0, again.err
    assert json.loads(again.out)["step"] == 3


def test_a_model_that_is_named_goes_before_that_of_the_configuration(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """And that is said."""
    (tmp_path / "run.json").write_text('{"resnet_bk": "1.0", "model": {"d_model": 32}}')
    outcome = invoke(
        "train",
        text_file,
        "-o",
        tmp_path / "run",
        *quick,
        "--config",
        tmp_path / "run.json",
        "--steps",
        1,
        "--json",
    )
    assert outcome.status == 0, outcome.err
    assert "--model takes the place of the section model" in outcome.err
    checkpoint = Path(json.loads(outcome.out)["checkpoint"])
    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == "llama"


def test_what_a_configuration_says_that_is_unknown_is_refused(
    invoke: Invoke, text_file: Path, tmp_path: Path
) -> None:
    """With its line and the name that was probably meant, before anything is written."""
    (tmp_path / "run.yaml").write_text("resnet_bk: '1.0'\ntraining:\n  learning_rte: 0.1\n")
    outcome = invoke("train", text_file, "-o", tmp_path / "run", "--config", tmp_path / "run.yaml", "--json")
    assert outcome.status == 2
    (problem,) = json.loads(outcome.out)["problems"]
    assert (problem["line"], problem["key"], problem["nearest"]) == (
        3,
        "training.learning_rte",
        "learning_rate",
    )
    assert "line 3" in outcome.err
    assert not (tmp_path / "run").exists()
    outcome = invoke("train", text_file)
    assert (outcome.status, "--output DIR" in outcome.err) == (2, True)


def test_validation_texts_can_be_named(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """Then all of the training text is trained on."""
    (tmp_path / "v.txt").write_text("the cat sat on the mat.\n" * 30)
    outcome = invoke(
        "train", text_file, "-o", tmp_path / "run", *quick, "--validation", tmp_path / "v.txt", "--json"
    )
    assert outcome.status == 0, outcome.err
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert any("validation_loss" in record for record in records)


@pytest.mark.parametrize(
    ("content", "options", "status", "words"),
    [
        (b"", [], 2, "no text"),
        (b"abc", ["--sequence-length", 500], 2, "too few for one sequence of 500"),
        (b"na\xefve text " * 50, [], 2, "not UTF-8"),
        (b"text " * 200, ["--learning-rate", -1], 2, "learning_rate can't be -1"),
        (b"text " * 200, ["--device", "gpu7"], 1, "no device 'gpu7'"),
        (b"text " * 200, ["--set", "x"], 2, "NAME=VALUE"),
        (b"text " * 200, ["--set", "vocab_size=3"], 2, "the model knows 3"),
        (b"text " * 200, ["--model", "nowhere.json"], 2, "no model can be made"),
        (b"text " * 200, ["--model", "unknown.json"], 2, "no model can be made"),
        (b"text " * 200, ["--tokenizer", "nowhere.json"], 2, "tokenizer nowhere.json can't be read"),
        (b"text " * 200, ["--stepz", "3"], 2, "--stepz"),
    ],
)
def test_bad_input_is_a_clear_error(
    invoke: Invoke,
    quick: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    options: list[object],
    status: int,
    words: str,
) -> None:
    """What happened, why, and what to type next; never a traceback."""
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_bytes(content)
    Path("unknown.json").write_text('{"model_type": "perpetual-motion"}')
    outcome = invoke("train", "t.txt", "-o", "run", *quick, *options)
    assert outcome.status == status, outcome.err
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_a_missing_text_and_a_folder_that_can_not_be_written(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """Neither is a traceback."""
    outcome = invoke("train", tmp_path / "gone.txt", "-o", tmp_path / "run", *quick)
    assert (outcome.status, "no file" in outcome.err) == (2, True)
    outcome = invoke("train", text_file, "-o", text_file / "run", *quick)
    assert (outcome.status, "can't be written" in outcome.err) == (1, True)
    outcome = invoke("train", "-o", tmp_path / "run", *quick)
    assert (outcome.status, "nothing to train on" in outcome.err) == (2, True)


def test_a_folder_with_a_run_asks_for_resume(
    invoke: Invoke, quick: list[object], text_file: Path, tmp_path: Path
) -> None:
    """The same command twice does not mix two runs."""
    assert invoke("train", text_file, "-o", tmp_path / "run", *quick, "--steps", 1).status == 0
    again = invoke("train", text_file, "-o", tmp_path / "run", *quick)
    assert again.status == 2
    assert "--resume" in again.err


def test_text_that_is_too_short_to_divide_is_all_trained_on(
    invoke: Invoke, quick: list[object], tmp_path: Path
) -> None:
    """And that nothing is left for evaluating is said."""
    (tmp_path / "t.txt").write_text("the cat sat on the mat.\n" * 8)
    outcome = invoke("train", tmp_path / "t.txt", "-o", tmp_path / "run", *quick, "--steps", 1, "--json")
    assert outcome.status == 0, outcome.err
    assert "too little text" in outcome.err
    assert json.loads(outcome.out)["validation_loss"] is None


def test_help_and_version_need_no_torch() -> None:
    """The program answers at once: neither torch nor transformers is imported."""
    script = (
        "import sys\nfrom resnet_bk.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)), file=sys.stderr)\n"
    )
    for arguments in (["--help"], ["--version"], ["train", "--help"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        assert result.stderr.strip() == "[]"
        assert result.stdout


def test_a_mistyped_verb_is_answered_with_the_nearest(invoke: Invoke) -> None:
    """As everywhere."""
    outcome = invoke("trian")
    assert outcome.status == 2
    assert "train" in outcome.err
    assert train_module.command.name == "train"
