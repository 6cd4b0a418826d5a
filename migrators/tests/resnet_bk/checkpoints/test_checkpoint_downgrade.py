"""The way back to 0.9: exact where 0.9 had such a model, refused where it had not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from modelplug.migration.detection import Wishes
from modelplug.migration.steps import Kind
from modelplug_migrators.resnet_bk.checkpoints.opening import open_old


def downgrade(shop: Any, folder: Path) -> Any:
    """Bring a checkpoint back to 0.9; gives what came of it."""
    migrator = shop.migrator
    plan = migrator.plan([folder], Wishes(target="0.9", kind=Kind.CHECKPOINT))
    assert [file.status for file in plan.files] == ["migrate"], [file.error for file in plan.files]
    applied = migrator.apply(plan, verify=True)
    return open_old(applied.files[0].build.path)


def parameters(state: Any) -> list[tuple[int, ...]]:
    """The shapes of the parameters of an old model, in its order."""
    buffers = ("h0_diag_base", "h0_sub_base", "h0_super_base", ".z", "scattering_step_counter")
    return [tensor.shape for name, tensor in state.items() if not name.endswith(buffers)]


def change(folder: Path, **settings: Any) -> None:
    """Change the configuration of a checkpoint."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_there_and_back(workshop: Any, read: Any) -> None:
    """Every tensor has its name and its bytes again, in the old order, and the optimizer knows the same."""
    state = workshop.state()
    optimizer = workshop.optimizer(state)
    root = {
        "model": state,
        "optimizer": optimizer,
        "epoch": 3,
        "step": 9,
        "config": {"top_k": 2, "note": "x"},
    }
    path = workshop.save({**root, "metrics": {"loss": 1.5}})
    back = downgrade(workshop, workshop.migrate(path).path)

    assert back.path == path
    assert list(back.model) == list(state)
    for name, tensor in state.items():
        assert (name, back.model[name].tensor.shape, read(back.model[name])) == (
            name,
            tensor.shape,
            tensor.data,
        )
    known, found = optimizer["state"], back.states["optimizer"]["state"]
    scales = [index for index, shape in enumerate(parameters(state)) if shape == ()]
    assert len(scales) == 2
    assert found.keys() == known.keys() - set(scales)
    assert all(read(found[index]["exp_avg"]) == known[index]["exp_avg"].data for index in found)
    assert back.states["optimizer"]["param_groups"] == optimizer["param_groups"]
    assert back.config["note"] == "x"
    assert back.config["top_k"] == 2
    assert back.entries == {"epoch": 3, "step": 9, "metrics": {"loss": 1.5}}


def test_random_numbers_there_and_back(workshop: Any) -> None:
    """They are what they were, in the way of 0.9; torch reads them as data, and they migrate again."""
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    import random

    generator = numpy.random.RandomState(4)
    folder = workshop.migrate(workshop.save(workshop.state())).path
    path = folder / "training_state.json"
    rng = {
        "python": {"version": 3, "state": list(random.Random(3).getstate()[1]), "gauss": None},
        "numpy": {
            "kind": "MT19937", "key": generator.get_state()[1].tolist(), "position": 5, "has_gauss": 0,
            "gauss": 0.0,
        },
        "torch": "AAEC",
        "cuda": ["AwQ="],
    }  # fmt: skip
    path.write_text(json.dumps({**json.loads(path.read_text()), "rng": [rng]}))
    back = downgrade(workshop, folder)
    found = torch.load(back.path, weights_only=True)["random_state"]
    made = workshop.migrate(back.path)

    generator.set_state(found["numpy_random"])
    random.Random(0).setstate(found["python_random"])
    assert found["torch_random"].tolist() == [0, 1, 2]
    assert made.training_state["rng"] == [rng]


@pytest.mark.parametrize("z", [1j, 0.25 + 0.5j])
def test_energy_and_width_become_z(workshop: Any, read: Any, z: complex) -> None:
    """With the precision of 32 bits; the usual one exactly."""
    import struct

    made = workshop.migrate(workshop.save(workshop.state(z=z)))
    back = downgrade(workshop, made.path)
    real, imaginary = struct.unpack("<2f", read(back.model["blocks.0.bk_layer.z"]))

    assert (real, imaginary) == ((0.0, 1.0) if z == 1j else pytest.approx((z.real, z.imag), rel=1e-6))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mixer": "green"}, "mixer is 'green'"),
        ({"norm": "rms"}, "norm is 'rms'"),
        ({"intermediate_size": 12}, "intermediate_size was twice d_model"),
        ({"n_layers": 3}, "is not what its configuration says"),
    ],
)
def test_what_0_9_had_not_is_refused(workshop: Any, settings: dict[str, Any], text: str) -> None:
    """With what it is."""
    folder = workshop.migrate(workshop.save(workshop.state())).path
    change(folder, **settings)
    why = workshop.why_not_back(folder)

    assert "0.9 had no such model" in why
    assert text in why


def test_a_scale_for_each_channel_is_refused(workshop: Any) -> None:
    """0.9 had one number."""
    folder = workshop.migrate(workshop.save(workshop.state(scale=True))).path

    assert "a number of its own for each channel" in workshop.why_not_back(folder)


def test_torch_reads_it(workshop: Any) -> None:
    """As data, without a word of warning."""
    torch = pytest.importorskip("torch")
    state = workshop.state()
    path = workshop.save({"model": state, "optimizer": workshop.optimizer(state), "epoch": 1, "step": 2})
    downgrade(workshop, workshop.migrate(path).path)
    found = torch.load(path, weights_only=True)

    assert found["epoch"] == 1
    assert found["model"]["blocks.0.bk_layer.z"] == torch.tensor(1j)
    assert found["model"]["blocks.1.bk_layer.h0_diag_base"].tolist() == [[-2.0] * 6]
    assert found["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    for name, tensor in state.items():
        assert found["model"][name].reshape(-1).view(torch.uint8).numpy().tobytes() == tensor.data


def test_numbers_of_numpy_become_numbers(workshop: Any, tmp_path: Path) -> None:
    """Torch loads no others as data; an array of them becomes a tensor."""
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    folder = workshop.migrate(workshop.save(workshop.state())).path
    plain = torch.load(downgrade(workshop, folder).path, weights_only=True)
    best = {"loss": numpy.float32(0.1), "at": numpy.int64(-7), "is_good": numpy.bool_(True)}
    path = tmp_path / "with_numbers.pt"
    torch.save({**plain, "best": best, "seen": Counter("aab"), "history": numpy.arange(3)}, path)
    found = torch.load(downgrade(workshop, workshop.migrate(path).path).path, weights_only=True)

    assert found["best"] == {"loss": float(numpy.float32(0.1)), "at": -7, "is_good": True}
    assert found["seen"] == {"a": 2, "b": 1}
    assert found["history"].tolist() == [0, 1, 2]
