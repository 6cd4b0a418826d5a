"""A project in the real program: planned, applied, planned again, and rolled back to the byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.cli.main import main
from modelplug.migration import workers
from modelplug.migration.planning import Planner

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.migration.candidates import Candidate
    from modelplug.migration.detection import Wishes
    from modelplug.migration.plan import FilePlan

PROGRAM = """\
import torch

from src.models.resnet_bk import LanguageModel


def build(vocab_size):
    model = LanguageModel(
        vocab_size=vocab_size,
        d_model=64,
        n_layers=2,  # two are enough
        n_seq=128,
        num_experts=4,
        dropout_p=0.1,
    )
    return model


def train(batch):
    torch.manual_seed(42)
    model = build(1000).to("cpu")
    logits = model(batch)
    return logits.sum()
"""
MIGRATED = """\
import torch

from resnet_bk import MambaKillerConfig, ResNetBK


def build(vocab_size):
    model = ResNetBK(MambaKillerConfig(
        vocab_size=vocab_size,
        d_model=64,
        n_layers=2,  # two are enough
        n_seq=128,
        num_experts=4, top_k=1,
        dropout=0.1,
    ))
    return model


def train(batch):
    torch.manual_seed(42)
    model = build(1000).to("cpu")
    logits = model(batch).logits
    return logits.sum()
"""
README = """\
# Use it

```python
from src.models.resnet_bk import ResNetBK
model = ResNetBK(d_model=32)
```
"""
UNDECIDED = "from src.models.resnet_bk import LanguageModel\nm = LanguageModel(use_symplectic=True)\n"
BROKEN = "from src.models.resnet_bk import LanguageModel\nm = LanguageModel(\n"
NOTEBOOK: dict[str, Any] = {
    "cells": [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": ["%matplotlib inline\n"]},
        {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "source": ["from src.models.resnet_bk import ResNetBK\n", "m = ResNetBK(d_model=32)"],
        },
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 4,
}


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrators, and no other plugin."""
    monkeypatch.setenv("MODELPLUG_PLUGINS", "migrators")
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """The program."""

    def run_program(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_program


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with programs of every kind, and files that are none of ours."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "train.py").write_text(PROGRAM, "utf-8")
    (folder / "README.md").write_text(README, "utf-8")
    (folder / "undecided.py").write_text(UNDECIDED, "utf-8")
    (folder / "broken.py").write_text(BROKEN, "utf-8")
    (folder / "wide.py").write_bytes(UNDECIDED.encode("utf-16"))
    (folder / "other.py").write_text("import torch\ntorch.manual_seed(3)\n", "utf-8")
    (folder / "notes.md").write_text("from src.models.resnet_bk import LanguageModel\n", "utf-8")
    (folder / "notebooks" / "n.ipynb").write_text(json.dumps(NOTEBOOK, indent=1), "utf-8")
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_goes_there_and_back(run: Any, project: Path) -> None:
    """What can be decided is migrated, all of it together; the rest is listed with its line, and stays."""
    before = content(project)
    status, out, err = run("plan", project)
    assert status == 0, err
    assert content(project) == before
    for told in (
        "undecided.py",
        "line 2: LanguageModel was left as it is: resnet_bk has no setting use_symplectic",
        "line 2: this can't be read, and stays as it is:",
        "line 1: this is no source text, and stays as it is: it is UTF-16",
    ):
        assert told in out
    assert "other.py" not in out
    assert "notes.md" not in out

    status, out, err = run("apply", project, "--yes")
    assert status == 0, err
    after = content(project)
    assert after[project / "train.py"].decode() == MIGRATED
    assert b"model = ResNetBK(MambaKillerConfig(d_model=32))" in after[project / "README.md"]
    changed = {path for path in before if before[path] != after[path]}
    assert {path.name for path in changed} == {"train.py", "README.md", "n.ipynb"}
    cells = json.loads(after[project / "notebooks" / "n.ipynb"])["cells"]
    assert cells[0] == NOTEBOOK["cells"][0]
    assert cells[1]["source"][1] == "m = ResNetBK(MambaKillerConfig(d_model=32))"

    status, out, _ = run("plan", project, "--json")
    assert status == 0
    again = {file["path"]: file for file in json.loads(out)["files"]}
    assert all(not file["changes"] for file in again.values())
    assert again[str(project / "train.py")]["status"] == "current"

    status, _, err = run("rollback", "--yes")
    assert status == 0, err
    assert content(project) == before


def test_an_earlier_version_can_be_the_target(run: Any, project: Path) -> None:
    """Only the steps on the way are taken."""
    path = project / "old.py"
    path.write_text(
        "from src.models.resnet_bk import LanguageModel\nm = LanguageModel(semiseparable_rank=3)\n"
    )
    status, _, err = run("apply", path, "--yes", "--to", "0.5")
    assert status == 0, err
    assert (
        path.read_text() == "from src.models.resnet_bk import LanguageModel\nm = LanguageModel(low_rank=3)\n"
    )


def test_the_way_back_is_a_rollback(run: Any, project: Path) -> None:
    """A program of today is not brought to an older version: that is said, and nothing is written."""
    run("apply", project / "train.py", "--yes")
    status, out, err = run("plan", project / "train.py", "--to", "0.9")
    assert status != 0
    assert "the way back from 1.0 would lose something" in out + err


def test_every_step_explains_itself(run: Any) -> None:
    """`explain` shows what each version changes in programs."""
    status, out, _ = run("explain", "resnet-bk", "--kind", "source")
    assert status == 0
    for words in (
        "low_rank",
        "evaluate_streaming",
        "moe_experts",
        "total_flops",
        "input_shape",
        "MambaKillerConfig",
    ):
        assert words in out


def test_several_processes_make_the_same_plan(
    run: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project that is large enough is divided among processes; what comes of it is the same."""
    for number in range(6):
        (project / f"copy{number}.py").write_text(PROGRAM.replace("1000", str(number)), "utf-8")
    _, alone, _ = run("plan", project, "--json")
    planned_here: list[Path] = []
    plan_candidate = Planner.plan_candidate

    def plan_and_count(self: Planner, candidate: Candidate, wishes: Wishes) -> FilePlan:
        planned_here.append(candidate.path)
        return plan_candidate(self, candidate, wishes)

    monkeypatch.setattr(workers, "LEAST", 0)
    monkeypatch.setattr(workers, "_processors", lambda: 3)
    monkeypatch.setattr(Planner, "plan_candidate", plan_and_count)
    _, together, _ = run("plan", project, "--json")
    assert json.loads(together)["files"] == json.loads(alone)["files"]
    assert len(planned_here) < len(list(project.rglob("*.*")))
