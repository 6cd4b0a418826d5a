"""`resnet-bk export`: a model's folder, or that of a training run, becomes an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk.cli.main import main

pytestmark = pytest.mark.timeout(600)  # an export is seconds of work, and more on a busy machine
Maker = Callable[..., Any]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `resnet-bk` with arguments: its exit status, what it printed, and what it said besides."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def test_the_newest_model_of_a_run(
    invoke: Maker, make_model: Maker, open_graph: Maker, tokens: Maker, tmp_path: Path
) -> None:
    """Of a training run the newest checkpoint is exported, also one saved in 16 bits, with its state."""
    model = make_model().bfloat16()
    for number in (1, 2):
        with torch.no_grad():
            model.lm_head.weight.mul_(number)
        model.save_pretrained(tmp_path / f"run/checkpoints/checkpoint-00000{number}-epoch-0-step-{number}")
    path = tmp_path / "model.onnx"
    status, out, _ = invoke("export", tmp_path / "run", path, "--length", 12, "--with-state", "--json")
    ids = tokens(1, 10)
    with torch.no_grad():
        expected = model.float()(ids).logits

    assert status == 0
    assert json.loads(out) == {
        "model": str(tmp_path / "run/checkpoints/checkpoint-000002-epoch-0-step-2"),
        "file": str(path), "bytes": path.stat().st_size, "with_state": True,
    }  # fmt: skip
    torch.testing.assert_close(open_graph(path).run(ids)[0], expected, rtol=0, atol=1e-4)


def test_folders_without_a_model(invoke: Maker, tmp_path: Path) -> None:
    """A folder that is not there, or holds no model, or a broken one, is named, with what to do."""
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "resnet_bk"}')
    for folder, words in (
        ("none", "there is no folder"),
        ("empty", "there is no model in"),
        ("broken", "can't be loaded"),
    ):
        status, _, err = invoke("export", tmp_path / folder, tmp_path / "model.onnx")

        assert status == 1
        assert words in err
        assert "try:" in err
    assert not (tmp_path / "model.onnx").exists()
