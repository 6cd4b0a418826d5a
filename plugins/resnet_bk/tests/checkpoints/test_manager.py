"""Saving, finding and loading checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from resnet_bk.checkpoints import (
    CheckpointDamagedError,
    CheckpointManager,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    FutureCheckpointError,
    StateNotSavableError,
    TrainingState,
)
from resnet_bk.checkpoints.layout import Metadata

Make = Callable[..., Any]
Same = Callable[[Any, Any], bool]


def test_the_guides_call_saves_what_load_brings_back(companions: Make, same: Same, tmp_path: Path) -> None:
    """Modules and optimizers go in, and fresh ones come to the same state, tied weights and all."""
    model, optimizer, scheduler = companions()
    manager = CheckpointManager(tmp_path / "checkpoints")
    manager.save_checkpoint(
        model=model, optimizer=optimizer, scheduler=scheduler, epoch=2, step=3, metadata={"version": "1.0.0"}
    )

    other, other_optimizer, other_scheduler = companions(seed=5, steps=1)
    loaded = manager.load(model=other, optimizer=other_optimizer, scheduler=other_scheduler)
    assert (loaded.epoch, loaded.step, loaded.metadata.version) == (2, 3, "1.0.0")
    assert same(dict(other.state_dict()), dict(model.state_dict()))
    assert other.head.weight is other.embed.weight
    assert same(other_optimizer.state_dict(), optimizer.state_dict())
    assert same(other_scheduler.state_dict(), scheduler.state_dict())


def test_state_dicts_do_as_well_as_objects(companions: Make, same: Same, tmp_path: Path) -> None:
    """The guide passes what it took from an old checkpoint: state dicts."""
    model, optimizer, _ = companions()
    manager = CheckpointManager(tmp_path)
    path = manager.save_checkpoint(
        model=model.state_dict(),
        optimizer=optimizer.state_dict(),
        epoch=1,
        step=2,
        metadata={"version": "1.0.0"},
    )
    assert not (path / "config.json").exists()
    other, other_optimizer, _ = companions(seed=1, steps=0)
    manager.load(path, model=other, optimizer=other_optimizer)
    assert same(dict(other.state_dict()), dict(model.state_dict()))
    assert same(other_optimizer.state_dict(), optimizer.state_dict())


def test_the_folder_holds_the_files_of_the_format(companions: Make, tmp_path: Path) -> None:
    """Every file is data, and each is named in the metadata with its size and hash."""
    model, optimizer, scheduler = companions()
    path = CheckpointManager(tmp_path).save_checkpoint(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        metadata={"run": "a"},
        extra_files={"notes.txt": b"x"},
    )
    assert sorted(entry.name for entry in path.iterdir()) == [
        "config.json", "metadata.json", "model.safetensors", "notes.txt", "optimizer.json",
        "optimizer.safetensors", "scheduler.json", "training_state.json",
    ]  # fmt: skip
    assert CheckpointManager(tmp_path).load().extra_file("notes.txt") == b"x"
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata["format_version"] == "1.0.0"
    assert metadata["tool"]["name"] == "modelplug-resnet-bk"
    assert len(metadata["source_hash"]) == 64
    assert metadata["metadata"] == {"run": "a"}
    assert set(metadata["files"]) == {entry.name for entry in path.iterdir()} - {"metadata.json"}
    assert json.loads((path / "config.json").read_text()) == {"width": 8, "tied": True}


def test_a_shared_tensor_is_stored_once(companions: Make, tmp_path: Path) -> None:
    """Tied weights take the room of one, and the header names the other."""
    model, _, _ = companions()
    path = CheckpointManager(tmp_path).save_checkpoint(model=model)
    stored = safetensors.torch.load_file(path / "model.safetensors")
    assert "embed.weight" in stored
    assert "head.weight" not in stored


def test_a_tied_checkpoint_loads_into_an_untied_model(tiny_model: Make, tmp_path: Path) -> None:
    """Each name gets its values, whether or not the model shares them."""
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model())
    untied = tiny_model(seed=3, tied=False)
    manager.load(model=untied)
    assert torch.equal(untied.head.weight, untied.embed.weight)
    assert untied.head.weight.data_ptr() != untied.embed.weight.data_ptr()


def test_two_different_tensors_do_not_go_into_one(tiny_model: Make, tmp_path: Path) -> None:
    """An untied checkpoint does not fit a tied model: one of the two would be lost."""
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model(tied=False))
    with pytest.raises(CheckpointMismatchError, match="shares tensors that differ"):
        manager.load(model=tiny_model())


@pytest.mark.parametrize("wrapped_to_save", [True, False])
def test_wrappers_do_not_get_into_the_names(tiny_model: Make, tmp_path: Path, wrapped_to_save: bool) -> None:
    """A compiled or data-parallel model is stored, and loaded into, under its own names."""
    manager = CheckpointManager(tmp_path)
    plain, wrapped = tiny_model(seed=1), torch.nn.DataParallel(tiny_model(seed=2))
    saved, target = (wrapped, plain) if wrapped_to_save else (plain, wrapped)
    manager.save_checkpoint(model=saved)
    manager.load(model=target)
    assert torch.equal(plain.embed.weight, wrapped.module.embed.weight)


def test_another_architecture_is_refused_by_name_and_shape(tiny_model: Make, tmp_path: Path) -> None:
    """The error lists what is missing, unknown and of another shape, and the model stays as it was."""
    manager = CheckpointManager(tmp_path)
    state = dict(tiny_model().state_dict())
    state["head.bias"] = torch.zeros(11)
    state["embed.weight"] = torch.zeros(12, 8)
    state["head.weight"] = torch.zeros(12, 8)
    del state["conv.bias"]
    manager.save_checkpoint(model=state)
    model = tiny_model(seed=9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointMismatchError) as caught:
        manager.load(model=model)
    assert caught.value.missing == ("conv.bias",)
    assert caught.value.unexpected == ("head.bias",)
    assert caught.value.misshapen["embed.weight"] == ((11, 8), (12, 8))
    assert "[11, 8] here, [12, 8] there" in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_optimizer_of_other_parameters_is_refused(companions: Make, tmp_path: Path) -> None:
    """Groups of another size or with other names do not take the state, and the model is left alone too."""
    model = companions()[0]
    manager = CheckpointManager(tmp_path)
    named = torch.optim.AdamW(list(model.named_parameters()))
    manager.save_checkpoint(model=model, optimizer=named)
    other, _, _ = companions(seed=4, steps=0)
    before = other.embed.weight.clone()
    with pytest.raises(CheckpointMismatchError, match="another order"):
        manager.load(model=other, optimizer=torch.optim.AdamW(reversed(list(other.named_parameters()))))
    with pytest.raises(CheckpointMismatchError, match="parameters here and"):
        manager.load(model=other, optimizer=torch.optim.AdamW([other.embed.weight]))
    assert torch.equal(other.embed.weight, before)


def test_the_newest_are_kept_and_the_best(tiny_model: Make, tmp_path: Path) -> None:
    """Of ten checkpoints the last three stay, and the one with the best metric."""
    manager = CheckpointManager(tmp_path, keep=3)
    model = tiny_model()
    for step, metric in enumerate([5.0, 2.0, 4.0, None, 3.0, 2.5, 6.0, 7.0]):
        manager.save_checkpoint(model=model, step=step, metric=metric)
    assert [item.step for item in manager.checkpoints()] == [7, 6, 5, 1]
    best, latest = manager.best(), manager.latest()
    assert best is not None
    assert latest is not None
    assert Metadata.read(best / "metadata.json").metric == 2.0
    assert Metadata.read(latest / "metadata.json").step == 7


def test_the_order_is_that_of_saving(tiny_model: Make, tmp_path: Path) -> None:
    """After going back to an earlier step, the newest checkpoint is the one saved last."""
    manager = CheckpointManager(tmp_path)
    for step in (100, 200, 100):
        manager.save_checkpoint(model=tiny_model(), step=step)
    assert [item.step for item in manager.checkpoints()] == [100, 200, 100]


def test_the_training_state_comes_back(tiny_model: Make, tmp_path: Path) -> None:
    """Everything known of the run is kept, entries of other programs included."""
    state = TrainingState(
        epsilon=0.75, best_ppl=float("inf"), gradient_norms=[0.1, 0.2], nan_count=1, extras={"note": "x"}
    )
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model(), epoch=1, step=9, training_state=state)
    back = manager.load().training_state
    assert (back.epoch, back.step, back.epsilon, back.best_ppl) == (1, 9, 0.75, float("inf"))
    assert (back.gradient_norms, back.nan_count, back.extras) == ([0.1, 0.2], 1, {"note": "x"})
    assert back.rng


def test_further_states_come_back(tiny_model: Make, same: Same, tmp_path: Path) -> None:
    """Whatever else a run has to remember is kept by name."""
    states = {"ema": {"decay": 0.99, "weights": {"a": torch.randn(3)}}, "nothing": {}}
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model(), states=states)
    loaded = manager.load()
    assert loaded.states == ("ema", "nothing")
    assert same(loaded.state("ema"), states["ema"])


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"optimizer": {"f": print}}, "f"),
        ({"metadata": {"when": {1, 2}}}, "metadata.json"),
        ({"training_state": {"extras": torch.zeros(1)}}, "extras"),
        ({"extra_files": {"../x": b""}}, "../x"),
        ({"extra_files": {"model.safetensors": b""}}, "model.safetensors"),
        ({"model": {"weight": [1.0]}}, "weight"),
        ({"model": {"weight": torch.empty(2, device="meta")}}, "weight"),
    ],
)
def test_what_is_no_data_is_refused(
    tiny_model: Make, tmp_path: Path, given: dict[str, Any], place: str
) -> None:
    """Nothing is pickled: the error names the entry, and no folder is left."""
    manager = CheckpointManager(tmp_path)
    with pytest.raises(StateNotSavableError) as caught:
        manager.save_checkpoint(**{"model": tiny_model(), **given})
    assert caught.value.place == place
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_no_checkpoint_is_an_error_that_says_so(tmp_path: Path) -> None:
    """An empty or missing folder, or a name that is not there."""
    manager = CheckpointManager(tmp_path / "nowhere")
    for path in (None, tmp_path / "gone"):
        with pytest.raises(CheckpointNotFoundError):
            manager.load(path)
    assert manager.latest() is None
    assert manager.best() is None
    assert not (tmp_path / "nowhere").exists()


def test_a_checkpoint_of_a_later_format_is_not_guessed_at(tiny_model: Make, tmp_path: Path) -> None:
    """A format of which nothing is known is refused, not read by today's rules, and not taken for damage."""
    manager = CheckpointManager(tmp_path)
    path = manager.save_checkpoint(model=tiny_model())
    file = path / "metadata.json"
    file.write_text(file.read_text().replace('"format_version": "1.0.0"', '"format_version": "2.0.0"'))
    with pytest.raises(FutureCheckpointError, match=r"2\.0\.0"):
        manager.load()


def test_a_state_that_was_not_saved_is_an_error(tiny_model: Make, companions: Make, tmp_path: Path) -> None:
    """Loading an optimizer from a checkpoint without one says what there is."""
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model())
    _, optimizer, _ = companions()
    with pytest.raises(Exception, match="has no optimizer"):
        manager.load(optimizer=optimizer)


def test_a_named_checkpoint_that_is_damaged_is_an_error(
    tiny_model: Make, flip_byte: Callable[[Path], None], tmp_path: Path
) -> None:
    """Who asks for one checkpoint does not get another in its place."""
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model=tiny_model(), step=1)
    path = manager.save_checkpoint(model=tiny_model(), step=2)
    flip_byte(path / "model.safetensors")
    with pytest.raises(CheckpointDamagedError, match=r"model\.safetensors was changed"):
        manager.load(path.name)
