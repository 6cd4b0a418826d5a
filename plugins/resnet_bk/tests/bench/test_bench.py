"""The benchmarks against other models, at sizes that take no time."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
import torch

pytest.importorskip("mambapy")

BENCH = Path(__file__).resolve().parents[2] / "bench"
Run = Callable[..., click.testing.Result]


@pytest.fixture(scope="module", autouse=True)
def scripts_found() -> Iterator[None]:
    """Let the scripts be imported, and their models compute with one thread."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs a script with arguments."""

    def call(script: str, *arguments: object) -> click.testing.Result:
        main = importlib.import_module(script).main
        return click.testing.CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call


def _runs_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["runs"]
    return found


def _recall(out: Path) -> tuple[object, ...]:
    sizes = ("--rows", 2, "--steps", 2, "--short-steps", 1, "--test-texts", 1)
    return ("--out", out, "--seeds", 1, *sizes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def quality_results(run: Run, place: Path) -> Path:
    """Results of two steps of every language model, at two learning rates."""
    path, text = place / "resnet-bk-quality.json", place / "text.txt"
    text.write_text(" ".join(f"word {number * number % 977} follows" for number in range(2000)))
    sizes = ("--steps", 2, "--tuning-steps", 1, "--seeds", 1, "--rows", 2, "--length", 16)
    arguments = ("--text", text, "--out", path, *sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quality.RATES", (4e-3, 8e-3))
        patch.setattr("quality.DROPOUTS", (0.0, 0.2))
        for more in ((), ("--timing", "--rounds", 1)):
            made = run("quality", *arguments, *more)
            assert made.exit_code == 0, made.output
    return path


@pytest.fixture(scope="module")
def recall_results(run: Run, place: Path) -> Path:
    """Results of two steps of every model at the recall task."""
    path = place / "resnet-bk-recall.json"
    made = run("recall", *_recall(path))
    assert made.exit_code == 0, made.output
    return path


def test_every_model_has_its_losses(quality_results: Path) -> None:
    """Rates and dropouts are tuned, and each model is trained with the best of those tried and measured."""
    runs = _runs_in(quality_results)
    for name in ("resnet-bk", "llama", "mamba"):
        trained = runs[f"training/{name}/0"]
        tried = [run for key, run in runs.items() if key.startswith(f"tuning/{name}/")]
        assert len({run["rate"] for run in tried}) > 1
        assert len({run["dropout"] for run in tried}) > 1
        assert trained["loss"] == min(run["loss"] for run in tried)
        tried_first = [run for key, run in runs.items() if key.startswith(f"short-tuning/{name}/")]
        assert runs[f"short/{name}/0"]["loss"] == min(run["loss"] for run in tried_first)
        assert 0 < trained["loss"] < 8
        assert abs(trained["parameters"] / runs["training/resnet-bk/0"]["parameters"] - 1) < 0.01


def test_finished_runs_are_not_run_again(run: Run, recall_results: Path) -> None:
    """A second start leaves what is there, and makes only what is missing."""
    path = recall_results
    content = json.loads(path.read_text())
    before = content["runs"]
    lost = before.pop("attention/0")
    before["resnet-bk/0"]["seconds"] = -1.0
    path.write_text(json.dumps(content))
    out = run("recall", *_recall(path)).output
    after = _runs_in(path)
    assert "attention/0" in out
    assert "resnet-bk/0" not in out
    assert after["resnet-bk/0"]["seconds"] == -1.0
    assert after["attention/0"]["accuracy"] == lost["accuracy"]


def test_one_model_and_seed_can_be_run_alone(run: Run, recall_results: Path, tmp_path: Path) -> None:
    """With the same figures as among the others; so several processes can share the work, and one file."""
    path = tmp_path / "alone.json"
    made = run("recall", *_recall(path), "--model", "attention", "--seed", 0)
    assert made.exit_code == 0, made.output
    alone = _runs_in(path)
    assert set(alone) == {"mamba_scan", "attention/0"}
    assert alone["attention/0"]["accuracy"] == _runs_in(recall_results)["attention/0"]["accuracy"]


def test_results_with_other_settings_are_refused(run: Run, recall_results: Path) -> None:
    """Runs of different lengths don't mix in one file."""
    made = run("recall", *_recall(recall_results), "--steps", 3)
    assert made.exit_code == 2
    assert "Name another file with --out" in made.output


def test_the_report_renders(run: Run, place: Path, quality_results: Path, recall_results: Path) -> None:
    """The page has a row for each model, and says of each aim whether it was reached."""
    made = run("report", "--folder", place)
    assert made.exit_code == 0, made.output
    page = (place / "resnet-bk-quality.md").read_text()
    for name in ("ResNet-BK", "Llama", "Mamba", "the same, plain sigmoid gates"):
        assert f"| {name} |" in page
    # Two steps teach nobody to recall.
    assert "**Missed**: at least 95% right at 64 tokens" in page
    assert "a step takes no longer than with Llama" in page


def test_the_compiled_scan_is_the_plain_recurrence() -> None:
    """Outputs and all gradients of the compiled scan are those of a loop over tokens, in float64."""
    from comparison.selective_scan import load_library, selective_scan

    if load_library() is None:
        pytest.skip("there is no C compiler")
    torch.manual_seed(0)
    rows, length, channels, states = 2, 37, 32, 5
    x = torch.randn(rows, length, channels)
    delta = torch.nn.functional.softplus(torch.randn(rows, length, channels))
    rates = -torch.exp(torch.randn(channels, states))
    b, c = torch.randn(2, rows, length, states)
    given = [x, delta, rates, b, c, torch.randn(channels)]
    cotangent = torch.randn(rows, length, channels)

    leaves = [tensor.clone().requires_grad_() for tensor in given]
    outputs = selective_scan(*leaves)
    grads = torch.autograd.grad(outputs, leaves, cotangent)

    leaves = [tensor.double().requires_grad_() for tensor in given]
    x, delta, rates, b, c, skip = leaves
    state = torch.zeros(rows, channels, states, dtype=torch.float64)
    read = []
    for t in range(length):
        step = delta[:, t, :, None]
        state = torch.exp(step * rates) * state + step * b[:, t, None] * x[:, t, :, None]
        read.append((state * c[:, t, None]).sum(-1) + skip * x[:, t])
    expected = torch.stack(read, 1)
    torch.testing.assert_close(outputs.double(), expected, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(grads, torch.autograd.grad(expected, leaves, cotangent.double()), strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def test_memory_off_takes_away_what_was_read() -> None:
    """Without its memory a model sees no further back than its convolutions; afterwards it is as before."""
    from comparison.ablation import memory_off
    from comparison.models import mamba, resnet_bk
    from comparison.optimisation import logits_of

    for build in (resnet_bk, mamba):
        torch.manual_seed(0)
        model = build(32, 2).eval()
        tokens = torch.randint(0, 32, (1, 24))
        changed = tokens.clone()
        changed[0, 0] = (tokens[0, 0] + 1) % 32
        with torch.no_grad():
            before, other = logits_of(model, tokens), logits_of(model, changed)
            assert not torch.equal(before[0, -1], other[0, -1])
            with memory_off(model):
                assert torch.equal(logits_of(model, tokens)[0, -1], logits_of(model, changed)[0, -1])
            assert torch.equal(logits_of(model, tokens), before)


def test_questions_have_answers() -> None:
    """Every text holds 8 pairs at its beginning, and asks twice for each at its end."""
    import recall

    texts = recall.make_texts(20, 80, torch.Generator().manual_seed(0))
    for tokens, targets in zip(texts.tokens.tolist(), texts.targets.tolist(), strict=True):
        pairs = {tokens[at]: tokens[at + 1] for at in range(32) if tokens[at] < recall.KEYS}
        asked = {at: target for at, target in enumerate(targets) if target >= 0}
        assert len(pairs) == 8
        assert list(asked) == list(range(48, 80, 2))
        assert all(pairs[tokens[at]] == target for at, target in asked.items())
        assert sorted(tokens[at] for at in asked) == sorted(2 * list(pairs))
        assert all(token >= recall.KEYS + recall.VALUES for token in tokens[32:48])


def test_counts_along_the_length(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of ResNet-BK costs the same in every text, one of the Llama more in a longer one."""
    # PyTorch's compilers, which counting imports, make a folder there.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    result = run("flops", "--lengths", "64,256")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    costs = [float(line[-4]) for line in lines]
    assert [line[0] for line in lines] == ["resnet-bk", "resnet-bk", "llama", "llama"]
    assert costs[0] == costs[1]
    assert costs[2] < costs[3]
