"""One update: groups, accumulation, loss, precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.data import IGNORED, Batch, PackedSequences, TokenStream, VocabularyError
from resnet_bk.training import TrainingConfig, TrainingError, train
from resnet_bk.training.metrics import read_metrics
from resnet_bk.training.optimizer import exempt_from_decay, parameter_groups
from resnet_bk.training.precision import choose_precision, matrix_width
from resnet_bk.training.update import token_loss

Settings = Callable[..., TrainingConfig]
Models = Callable[..., torch.nn.Module]


def losses(output: Path) -> list[float]:
    """The training losses of a run."""
    return [record["loss"] for record in read_metrics(output / "metrics.jsonl") if "loss" in record]


def test_vectors_and_marked_parameters_have_no_weight_decay(make_model: Models) -> None:
    """Biases and norms are known by their shape; a matrix says so itself, or its model does."""
    model = make_model()
    model.blocks[0].conv.weight._no_weight_decay = True
    model.no_weight_decay = lambda: {"embed.weight"}
    groups = parameter_groups(model, 0.1, exempt_from_decay(model))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [name for name, _ in groups[0]["params"]] == ["blocks.1.conv.weight"]
    vectors = {f"blocks.{i}.{rest}" for i in (0, 1) for rest in ("conv.bias", "norm.weight", "norm.bias")}
    assert {name for name, _ in groups[1]["params"]} == {*vectors, "blocks.0.conv.weight", "embed.weight"}


def test_a_model_without_parameters_can_not_be_trained(make_model: Models) -> None:
    """Where everything is frozen there is nothing to do, which is said."""
    model = make_model().requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameters to train"):
        parameter_groups(model, 0.1, frozenset())


def test_accumulation_changes_nothing_but_memory(
    make_model: Models, settings: Settings, tmp_path: Path
) -> None:
    """The same batch in one, two or five unequal parts gives the same curve, ignored targets included."""
    chance = numpy.random.RandomState(1)
    stream = TokenStream.from_array(chance.randint(0, 20, 300), [0, *range(5, 300, 7)])
    curves = []
    for parts in (1, 2, 5):
        model = make_model(dropout=0.0)
        output = tmp_path / str(parts)
        train(model, stream, settings(batch_size=5, accumulation=parts), output=output)
        # Adam does not mind how long a gradient is, so its norm is compared, too.
        norms = [record["gradient_norm"] for record in read_metrics(output / "metrics.jsonl")]
        curves.append([*losses(output), *norms])
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)
    assert curves[2] == pytest.approx(curves[0], abs=1e-5)
    assert curves[0][11] != pytest.approx(curves[0][0], abs=1e-3)


def test_a_training_step_is_the_textbook_one(
    make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path
) -> None:
    """Without tricks, the parameters after three updates are those of a plain loop with torch's AdamW."""
    config = settings(steps=3, schedule="constant", warmup=0.0, gradient_clip=0.5, batch_size=2)
    ours, theirs = make_model(dropout=0.0), make_model(dropout=0.0)
    train(ours, stream, config, output=tmp_path)

    from resnet_bk.data import BatchOrder

    packed = PackedSequences(stream, 8)
    order = BatchOrder(len(packed), 2, 0)
    decayed = [each for each in theirs.parameters() if each.ndim >= 2]
    rest = [each for each in theirs.parameters() if each.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    for step in range(3):
        batch = packed.batch(order.at(step))
        logits = theirs(batch.inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name


def test_training_learns(make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path) -> None:
    """The loss falls well below that of guessing, on data that were not trained on too."""
    data, validation = stream.split(0.2)
    result = train(make_model(), data, settings(steps=80), output=tmp_path, validation=validation)
    assert result.validation_loss is not None
    assert result.validation_loss < 2.2 < numpy.log(20)
    assert result.best_checkpoint == result.checkpoint


def test_an_auxiliary_loss_is_minimised_too(tiny: ModuleType) -> None:
    """What a mixture of experts adds counts once for every target, and is no part of the reported loss."""

    class WithAux(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> Any:
            return tiny.Output(torch.zeros(*input_ids.shape, 4), aux_loss=torch.tensor(0.5))

    targets = torch.tensor([[1, 2, IGNORED]])
    objective, entropy = token_loss(WithAux(), Batch(torch.zeros(1, 3, dtype=torch.int64), targets))
    assert entropy.item() == pytest.approx(2 * numpy.log(4))
    assert objective.item() == pytest.approx(entropy.item() + 2 * 0.5)


def test_a_model_without_logits_is_refused(
    make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path
) -> None:
    """The error says what was expected and what came."""

    class Headless(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.weight * torch.ones(3)

    with pytest.raises(TrainingError, match=r"no logits for each position.*gave \[3\]"):
        train(Headless(), stream, settings(), output=tmp_path)


def test_mixed_precision_trains_nearly_the_same(
    make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path
) -> None:
    """Parameters stay in float32, and the curve is that of float32 but for rounding."""
    curves = []
    for name in ("float32", "bfloat16"):
        model = make_model(dropout=0.0)
        result = train(model, stream, settings(precision=name), output=tmp_path / name)
        assert result.precision == name
        assert all(each.dtype is torch.float32 for each in model.parameters())
        curves.append(losses(tmp_path / name))
    assert curves[1] == pytest.approx(curves[0], abs=0.05)
    assert curves[1] != curves[0]


def test_an_overflow_of_float16_is_no_failure(
    make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path
) -> None:
    """The scaler begins too high, leaves steps out until it is low enough, and then the model learns."""
    model = make_model(fault=lambda _, logits: logits * 4 - (logits * 3).detach())
    result = train(model, stream, settings(steps=30, precision="float16"), output=tmp_path)
    assert result.failures == ()
    scaler = CheckpointManager(tmp_path / "checkpoints").load().state("scaler")
    assert 1.0 <= scaler["scale"] < 65536.0
    curve = losses(tmp_path)
    assert curve[-1] < curve[0]


@pytest.mark.parametrize(
    ("amx", "width", "capability", "name", "words"),
    [
        (True, 256, None, "bfloat16", "AMX"),
        (True, 64, None, "float32", "gains nothing for matrices of width 64"),
        (False, 256, None, "float32", "slower"),
        (False, 64, (9, 0), "bfloat16", "9.0"),
        (False, 64, (7, 5), "float16", "7.5"),
        (False, 64, (6, 1), "float32", "no matrix units"),
    ],
)
def test_mixed_precision_is_used_where_it_helps_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch,
    amx: bool,
    width: int,
    capability: tuple[int, int] | None,
    name: str,
    words: str,
) -> None:
    """Processors with matrix units where matrices are large, and GPUs that are new enough."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    device = torch.device("cpu" if capability is None else "cuda")
    found = choose_precision("auto", device, width=width)
    assert (found.name, found.mixed) == (name, name != "float32")
    assert words in found.reason
    assert choose_precision("float32", device, width=width).reason == "it was asked for"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert choose_precision("auto", device, width=width).name == "bfloat16"


def test_the_width_is_that_of_a_typical_matrix() -> None:
    """One large matrix outweighs many small ones; vectors do not count, and convolutions do."""
    layers = [torch.nn.Linear(8, 8) for _ in range(5)]
    assert matrix_width(torch.nn.ModuleList(layers)) == 8
    assert matrix_width(torch.nn.ModuleList([*layers, torch.nn.Linear(100, 300)])) == 100
    assert matrix_width(torch.nn.Conv1d(4, 6, 3)) == 6
    assert matrix_width(torch.nn.LayerNorm(512)) == 0


def test_a_token_outside_the_vocabulary_is_refused_before_training(
    make_model: Models, settings: Settings, tmp_path: Path
) -> None:
    """In the training data as in the validation data."""
    good = TokenStream.from_array(numpy.arange(100) % 20)
    bad = TokenStream.from_array(numpy.arange(100) % 21)
    with pytest.raises(VocabularyError):
        train(make_model(), bad, settings(), output=tmp_path)
    with pytest.raises(VocabularyError):
        train(make_model(), good, settings(), output=tmp_path, validation=bad)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_and_a_device_that_is_not_there(
    make_model: Models, settings: Settings, stream: TokenStream, tmp_path: Path
) -> None:
    """Both are clear errors before anything is computed."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="can't be written"):
        train(make_model(), stream, settings(), output=tmp_path / "file")
    with pytest.raises(TrainingError, match="no device 'gpu7'"):
        train(make_model(), stream, settings(device="gpu7"), output=tmp_path / "run")
    with pytest.raises(TrainingError, match="started alone"):
        train(make_model(), stream, settings(parallel="fsdp2"), output=tmp_path / "run")
