"""What a checkpoint holds besides the model: states, counters, random numbers, and folders of files."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections import OrderedDict
from typing import Any

import pytest

from modelplug_migrators.resnet_bk.checkpoints.content import refs_in
from modelplug_migrators.resnet_bk.checkpoints.layout import checksum

SCALE = "blocks.0.bk_layer.bk_scale"


def names_of(made: Any) -> list[str]:
    """The parameters of a model of 1.0, in its order."""
    names: list[str] = made.states["optimizer"]["param_groups"][0]["param_names"]
    return names


def parameters(state: Any) -> list[str]:
    """The parameters of an old model, in its order."""
    buffers = ("h0_diag_base", "h0_sub_base", "h0_super_base", ".z", "scattering_step_counter")
    return [name for name in state if not name.endswith(buffers)]


def test_the_optimizer_follows_its_parameters(workshop: Any, read: Any) -> None:
    """What it knew of each is with that parameter; the new ones have nothing yet, nor has the scale."""
    state = workshop.state()
    optimizer = workshop.optimizer(state)
    path = workshop.save({"model": state, "optimizer": optimizer, "epoch": 1, "step": 5})
    plan = workshop.plan(path)
    made = workshop.migrate(path)
    found, names = made.states["optimizer"], names_of(made)
    index = parameters(state).index("blocks.1.bk_layer.v_proj.weight")

    assert found["param_groups"][0]["params"] == list(range(len(made.model)))
    assert found["param_groups"][0]["betas"] == (0.9, 0.999)
    assert sorted(names) == sorted(made.model)
    moved = found["state"][names.index("model.layers.1.mixer.potential.weight")]
    assert read(moved["exp_avg"]) == optimizer["state"][index]["exp_avg"].data
    without = {name for number, name in enumerate(names) if number not in found["state"]}
    assert without == {
        f"model.layers.{n}.mixer.{part}" for n in range(2) for part in ("energy", "rho", "scale")
    }
    dropped = [
        key for key in plan.account.keys if key.fate.value == "dropped" and key.key.startswith("optimizer.")
    ]
    assert len(dropped) == 6
    assert all("sum over the channels" in key.why for key in dropped)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda state: state["param_groups"].append({"params": [99]}), "2 groups do not say which"),
        (lambda state: state["param_groups"][0]["params"].pop(), "holds 47 parameters, and the model has 48"),
        (
            lambda state: state["state"].update({0: {"exp_avg": state["state"][1]["exp_avg"]}}),
            "of parameter 0 has another shape than token_embedding.weight",
        ),
    ],
)
def test_an_optimizer_that_can_not_be_followed_is_kept(workshop: Any, spoil: Any, why: str) -> None:
    """As data, with a word on what to do; no tensor is lost."""
    state = workshop.state()
    optimizer = workshop.optimizer(state)
    spoil(optimizer)
    path = workshop.save({"model": state, "optimizer": optimizer, "epoch": 1, "step": 5})
    (todo,) = [finding for finding in workshop.plan(path).findings if finding.severity.value == "todo"]
    made = workshop.migrate(path)

    assert why in todo.message
    assert made.states.keys() == {"former_optimizer"}
    assert len(list(refs_in(made.states["former_optimizer"]))) == len(list(_tensors(optimizer)))


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif hasattr(value, "chunks"):
        yield value


def test_groups_that_name_their_parameters(workshop: Any) -> None:
    """Several groups are followed if they say what they hold."""
    state = workshop.state()
    optimizer = workshop.optimizer(state, groups=2)
    names = parameters(state)
    for group in optimizer["param_groups"]:
        group["param_names"] = [f"module.{names[index]}" for index in group["params"]]
    made = workshop.migrate(workshop.save({"model": state, "optimizer": optimizer, "epoch": 1, "step": 5}))
    first, second = made.states["optimizer"]["param_groups"]

    assert "model.embeddings.weight" in first["param_names"]
    assert "lm_head.weight" in second["param_names"]
    assert {*first["param_names"], *second["param_names"]} == set(made.model)


def test_the_width_keeps_its_momentum_where_it_is_the_same_number(workshop: Any, read: Any) -> None:
    """`epsilon_param` was a parameter, and is `rho` if no gamma and no other floor are in it."""
    state = workshop.state(epsilon=0.5, scale=True)
    optimizer = workshop.optimizer(state)
    made = workshop.migrate(workshop.save({"model": state, "optimizer": optimizer, "epoch": 1, "step": 5}))
    found, index = made.states["optimizer"], parameters(state).index("blocks.0.bk_layer.epsilon_param")
    rho = found["state"][names_of(made).index("model.layers.0.mixer.rho")]

    assert read(rho["exp_avg"]) == optimizer["state"][index]["exp_avg"].data
    assert names_of(made).index("model.layers.0.mixer.scale") in found["state"]


def test_a_moving_average_has_the_names_of_the_model(workshop: Any, read: Any) -> None:
    """If it is by name of parameter; otherwise it stays as it is."""
    state = workshop.state(scale=True)
    average = OrderedDict(
        (f"_orig_mod.{name}", workshop.tensor(*state[name].shape)) for name in parameters(state)
    )
    root = {"model_state_dict": state, "step": 1, "loss": 1.0, "ema_state_dict": average}
    made = workshop.migrate(workshop.save(root))
    assert made.states["ema"].keys() == {name for name in made.model if not name.endswith(("energy", "rho"))}
    assert read(made.states["ema"]["lm_head.bias"]) == average["_orig_mod.lm_head.bias"].data
    other = {**root, "ema_state_dict": {"decay": 0.9, "shadow": workshop.tensor(2)}}
    made = workshop.migrate(workshop.save(other, "b.pt"))

    assert made.states["ema"].keys() == {"decay", "shadow"}


def test_where_training_stood(workshop: Any) -> None:
    """Known entries have their places; others are kept beside them; an update counts, not a micro-batch."""
    root = {
        "model_state_dict": workshop.state(), "epoch": 3, "step": 400, "optimizer_step": 100, "loss": 2.5,
        "best_val_loss": 2.0, "nan_count": 1, "gradient_norms": [1.0, 0.5], "metrics": {"ppl": float("inf")},
        "scheduler_state_dict": {"milestones": (1, 2)}, "is_stable": True, "rng": "odd",
        "schatten_norms": "bad",
    }  # fmt: skip
    made = workshop.migrate(workshop.save(root))
    metadata = json.loads((made.path / "metadata.json").read_text())

    assert (metadata["epoch"], metadata["step"]) == (3, 100)
    assert made.training_state["best_ppl"] == pytest.approx(math.exp(2.0))
    assert made.training_state["gradient_norms"] == [1.0, 0.5]
    assert made.training_state["nan_count"] == 1
    assert made.training_state["former_step"] == 400
    assert made.training_state["metrics"] == {"ppl": float("inf")}
    assert made.training_state["former_rng"] == "odd"
    assert made.training_state["former_schatten_norms"] == "bad"
    assert made.states["scheduler"] == {"milestones": (1, 2)}


def test_random_numbers_go_on(workshop: Any) -> None:
    """The states of the generators are those that there were, in the way of 1.0."""
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    import random

    state = {
        name: torch.frombuffer(bytearray(tensor.data), dtype=torch.float32).reshape(tensor.shape)
        for name, tensor in workshop.state().items()
        if tensor.dtype == "F32"
    }
    numbers = random.Random(3).getstate()
    generator = numpy.random.RandomState(4)
    generator.standard_normal()
    random_state = {
        "python_random": numbers,
        "numpy_random": generator.get_state(),
        "torch_random": torch.Generator().manual_seed(5).get_state(),
        "torch_cuda_random": [torch.arange(16, dtype=torch.uint8)],
    }
    path = workshop.folder / "colab.pt"
    torch.save({"model_state_dict": state, "epoch": 1, "step": 1, "random_state": random_state}, path)
    counts = workshop.plan(path).account.counts()
    made = workshop.migrate(path)
    (rng,) = made.training_state["rng"]

    assert tuple(rng["python"]["state"]) == numbers[1]
    assert rng["numpy"]["key"] == generator.get_state()[1].tolist()
    assert (rng["numpy"]["position"], rng["numpy"]["has_gauss"]) == generator.get_state()[2:4]
    assert base64.b64decode(rng["torch"]) == random_state["torch_random"].numpy().tobytes()
    assert [base64.b64decode(each) for each in rng["cuda"]] == [bytes(range(16))]
    assert json.loads((made.path / "migration.json").read_text())["counts"]["inlined"] == 3
    assert counts["dropped"] == 2 * 3


def test_random_numbers_that_are_not_whole_are_kept(workshop: Any) -> None:
    """As a state of their own."""
    root = {
        "model_state_dict": workshop.state(),
        "step": 1,
        "random_state": {"torch_random": workshop.tensor(3)},
    }
    made = workshop.migrate(workshop.save(root))

    assert made.training_state["rng"] == []
    assert made.states.keys() == {"random_state"}


def test_names_of_states_do_not_clash(workshop: Any) -> None:
    """Whatever an old checkpoint calls them."""
    root = {
        "model_state_dict": workshop.state(), "step": 1, "model_2_state_dict": {"x": workshop.tensor(2)},
        "config_state_dict": {"y": 1}, "bad/name_state_dict": {"z": 2}, "metadata": {"t": workshop.tensor(1)},
    }  # fmt: skip
    made = workshop.migrate(workshop.save(root))

    assert made.states.keys() == {"model_2", "config_2", "state", "metadata_2"}


def test_the_metadata_say_where_it_comes_from(workshop: Any) -> None:
    """Format, hash of the source, the steps, the tool, and every file with its hash."""
    import modelplug_migrators

    path = workshop.save({"model_state_dict": workshop.state(), "step": 7, "epoch": 1})
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    made = workshop.migrate(path)
    metadata = json.loads((made.path / "metadata.json").read_text())
    stated = metadata.pop("sha256")

    assert (metadata["format"], metadata["format_version"]) == ("resnet-bk-checkpoint", "1.0.0")
    assert metadata["source_hash"] == source
    assert metadata["tool"]["name"] == "modelplug-migrators"
    assert metadata["metadata"]["migration"]["chain"] == ["0.9 -> 1.0"]
    assert metadata["metadata"]["migration"]["source"] == "old.pt"
    assert stated == checksum(metadata)
    assert modelplug_migrators.__doc__
    others = {file.name for file in made.path.iterdir()} - {"metadata.json"}
    assert metadata["files"].keys() == others
    for name, record in metadata["files"].items():
        data = (made.path / name).read_bytes()
        assert record == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_an_older_version_goes_through_every_step(workshop: Any) -> None:
    """As the user says it: nothing changes before the last."""
    from modelplug.migration.detection import Wishes
    from modelplug.migration.steps import Kind

    path = workshop.save(workshop.state())
    wishes = Wishes(family="resnet-bk", kind=Kind.CHECKPOINT, source="0.4")
    migrator = workshop.migrator
    migrator.apply(migrator.plan([path], wishes))
    metadata = json.loads((workshop.folder / "old" / "metadata.json").read_text())

    assert len(metadata["metadata"]["migration"]["chain"]) == 6


# Folders --------------------------------------------------------------------------------------------------


def test_a_folder_of_transformers(workshop: Any, read: Any) -> None:
    """It keeps its name and its other files; the optimizer beside the model comes along."""
    state = workshop.state()
    prefixed = OrderedDict((f"model.{name}", tensor) for name, tensor in state.items())
    folder = workshop.save_folder(
        "hf",
        {"model_type": "resnet_bk", "top_k": 2, "n_seq": 6},
        {
            "pytorch_model.bin": prefixed,
            "optimizer.pt": workshop.optimizer(state),
            "scheduler.pt": {"last_epoch": 4},
            "trainer_state.json": json.dumps({"epoch": 2, "global_step": 30, "best_metric": 1.5}).encode(),
            "tokenizer.json": b'{"t": 1}',
            "migration.json": b"{}",
        },
    )
    (folder / "runs").mkdir()
    (folder / "runs" / "log.txt").write_text("a line")
    plan = workshop.plan(folder)
    made = workshop.migrate(folder)
    metadata = json.loads((folder / "metadata.json").read_text())

    assert plan.build.path == folder
    assert made.path == folder
    assert not (folder / "pytorch_model.bin").exists()
    assert (folder / "tokenizer.json").read_bytes() == b'{"t": 1}'
    assert (folder / "runs" / "log.txt").read_text() == "a line"
    assert (folder / "former-migration.json").read_bytes() == b"{}"
    assert (metadata["epoch"], metadata["step"]) == (2, 30)
    assert made.config["top_k"] == 2
    assert made.states.keys() == {"optimizer", "scheduler"}
    assert read(made.model["lm_head.bias"]) == state["lm_head.bias"].data
    lines = "".join(
        f"{each['sha256']}  {name}\n"
        for name, each in sorted(metadata["metadata"]["migration"]["files"].items())
    )
    assert metadata["source_hash"] == hashlib.sha256(lines.encode()).hexdigest()
    workshop.migrator.rollback()
    assert (folder / "pytorch_model.bin").exists()
    assert not (folder / "metadata.json").exists()


def test_weights_that_are_split_over_files(workshop: Any, read: Any) -> None:
    """They become one file; a missing part is named."""
    state = workshop.state()
    names = list(state)
    halves = {
        "pytorch_model-00001-of-00002.bin": OrderedDict((name, state[name]) for name in names[:20]),
        "pytorch_model-00002-of-00002.bin": OrderedDict((name, state[name]) for name in names[20:]),
    }
    places = {name: file for file, half in halves.items() for name in half}
    index = json.dumps({"weight_map": places}).encode()
    folder = workshop.save_folder("hf", {"top_k": 1}, {**halves, "pytorch_model.bin.index.json": index})
    made = workshop.migrate(folder)
    assert read(made.model["lm_head.bias"]) == state["lm_head.bias"].data
    assert not list(folder.glob("pytorch_model*"))
    workshop.migrator.rollback()
    (folder / "pytorch_model-00002-of-00002.bin").unlink()

    assert "00002-of-00002.bin is missing" in workshop.why_not(folder)


def test_a_folder_below_another(workshop: Any) -> None:
    """Is one checkpoint; its files are not migrated one by one."""
    folder = workshop.save_folder("project/hf", {"top_k": 1}, {"pytorch_model.bin": workshop.state()})
    plan = workshop.migrator.plan([folder.parent.parent])

    assert [(file.path, file.kind) for file in plan.files] == [(folder, "checkpoint")]


def test_numbers_of_all_types(workshop: Any, read: Any) -> None:
    """Complex numbers of 16 bytes, for which the format has no type, are stored as pairs and read back."""
    from modelplug.migration.checkpoints import MadeTensor

    value = struct.pack("<4d", 1.0, -2.0, 0.5, 0.25)
    root = {
        "model_state_dict": workshop.state(),
        "step": 1,
        "x_state_dict": {"c": MadeTensor("C128", (2,), value)},
    }
    made = workshop.migrate(workshop.save(root))

    assert made.states["x"]["c"].tensor.dtype == "C128"
    assert read(made.states["x"]["c"]) == value
