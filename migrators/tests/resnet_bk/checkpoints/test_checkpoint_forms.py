"""Every shape of checkpoint that was in use is recognised, whatever stands before its names."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug.migration.steps import Confidence
from modelplug_migrators.resnet_bk.versions import V0_9, V1_0

CONFIG = {"vocab_size": 11, "d_model": 8, "n_layers": 2, "n_seq": 6, "num_experts": 3, "top_k": 1}
LOSSES = {"train_losses": [3.0, 2.5], "val_losses": [2.75]}
OPTIMIZER = "optimizer_state_dict"
SCHEDULER = {"scheduler_state_dict": {"last_epoch": 3, "base_lrs": [0.001]}}


def forms(shop: Any) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """What each writer puts beside the model."""

    def trained(state: Any) -> dict[str, Any]:
        return {OPTIMIZER: shop.optimizer(state)}

    return {
        "a program as the guide has it": lambda s: {"optimizer": shop.optimizer(s), "epoch": 1, "step": 2},
        "the notebook of a full training": lambda s: {
            **trained(s), "config": CONFIG, "metrics": {"loss": 1.0},
        },
        "the notebook of the second step": lambda _: {"config": CONFIG, **LOSSES, "best_alpha": 0.5},
        "scripts/train.py": lambda s: {
            **trained(s), "config": CONFIG, "args": {"lr": 0.1}, "metrics": {}, "stability_diagnostics": {},
        },
        "the checkpoint manager": lambda _: {
            "epoch": 1, "step": 2, "timestamp": "20251118_101500", "metrics": {"loss": 1.0}, "config": CONFIG,
        },
        "scripts/train_long_context.py": lambda s: {
            **trained(s), **SCHEDULER, "global_step": 9, "args": CONFIG, "grad_tracker_stats": {"spikes": 0},
        },
        "the trainer for mixed precision": lambda s: {
            **trained(s), "epoch": 1, "scaler_state_dict": {"scale": 65536.0}, "stats": {"skipped": 1},
        },
        "automatic recovery": lambda s: {
            **trained(s), "step": 4, "epoch": 1, "metrics": {}, "is_stable": True, "timestamp": 1763460000.5,
        },
        "the handler of Colab's time limit": lambda s: {
            **trained(s), "step": 4, "epoch": 1, "metrics": {}, "timestamp": 1.5,
            "session_info": {"elapsed_hours": 11.5}, "random_state": {"torch_random": shop.tensor(4)},
        },
        "scripts/train_phase2.py": lambda s: {
            **trained(s), **SCHEDULER, "epoch": 1, "global_step": 7, "best_val_loss": 2.0, **LOSSES,
            "gamma_history": [0.1],
        },
        "examples/train_phase1_model.py": lambda s: {
            **trained(s), "epoch": 1, "global_step": 7, "config": CONFIG, "best_val_loss": 2.0, **LOSSES,
        },
        "examples/phase2_training.py": lambda _: {"config": CONFIG, "train_loss": 2.5},
        "scripts/train_phase7.py": lambda s: {
            **trained(s), "epoch": 1, "global_step": 7, "config": CONFIG, "loss": 2.5,
        },
        "scripts/train_phase7_max.py": lambda s: {**trained(s), "step": 7, "config": CONFIG},
        "scripts/train_phase7_max.py, the best one": lambda _: {"step": 7, "loss": 2.5},
        "scripts/train_resnet_bk_8gb.py": lambda s: {
            **trained(s), **SCHEDULER, "epoch": 1, "config": CONFIG, "loss": 2.5, "perplexity": 12.25,
        },
        "scripts/train_resnet_bk_8gb.py, the final one": lambda _: {"config": CONFIG},
        "scripts/train_phase8.py": lambda s: {
            **trained(s), **SCHEDULER, "step": 40, "optimizer_step": 10, "epoch": 1, "loss": 2.5,
            "scaler_state_dict": None, "config": CONFIG, "ema_state_dict": {k: s[k] for k in list(s)[:2]},
            "tsp_optimizer_state_dict": {"city": 3},
            "revolutionary_trainer_state_dict": {"t": shop.tensor(2)},
        },
        "scripts/reborn.py": lambda _: {
            "config": CONFIG, "args": {}, "reborn_from": "a.pt", "epoch": 0, "step": 0, OPTIMIZER: None,
            "training_info": {"note": "x"},
        },
        "scripts/merge_models.py": lambda _: {
            "config": CONFIG, "args": {}, "merged_from": ["a.pt", "b.pt"], "merge_method": "mean",
        },
        "PyTorch Lightning": lambda s: {
            "optimizer_states": [shop.optimizer(s)], "lr_schedulers": [], "epoch": 1, "global_step": 7,
            "hyper_parameters": CONFIG, "callbacks": {}, "pytorch-lightning_version": "2.1.0",
        },
        "iterative pruning": lambda _: {"pruning_masks": {"blocks.0": shop.tensor(4)}, "metrics": {}},
        "transfer learning": lambda _: {"phase": "finetune", "pretrain_metrics": {}, "finetune_metrics": {}},
    }  # fmt: skip


NAMES = tuple(forms(None))


@pytest.mark.parametrize("name", NAMES)
def test_every_writer_is_recognised_and_migrated(workshop: Any, name: str, read: Any) -> None:
    """By its entries; every tensor and value is accounted for, and the model arrives to the byte."""
    state = workshop.state()
    model = "model" if name == NAMES[0] else "model_state_dict"
    path = workshop.save({model: state, **forms(workshop)[name](state)})
    plan = workshop.plan(path)
    made = workshop.migrate(path)

    assert plan.evidence[0] == f"its entries are those of {name}"
    counts = plan.account.counts()
    assert sum(counts.values()) == len(plan.account.keys)
    assert read(made.model["lm_head.weight"]) == state["lm_head.weight"].data
    assert made.metadata["migration"]["written_by"] == name
    assert made.config["num_experts"] == 3


@pytest.mark.parametrize(
    "prefix", ["model.", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.model."]
)
@pytest.mark.parametrize("bare", [False, True])
def test_what_wrappers_put_before_the_names_goes(workshop: Any, prefix: str, bare: bool, read: Any) -> None:
    """Alone and together, with and without a dict around."""
    state = workshop.state()
    named = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in state.items())
    path = workshop.save(named if bare else {"state_dict": named, "config": CONFIG})
    assert f"{prefix} stands before every name" in workshop.plan(path).evidence
    made = workshop.migrate(path)

    assert read(made.model["model.layers.1.norm.bias"]) == state["blocks.1.layer_norm.bias"].data


def test_what_lightning_keeps_in_lists(workshop: Any) -> None:
    """One optimizer is the optimizer; several are kept as a list, and read back."""
    state = workshop.state()
    rest = {"state_dict": state, "epoch": 1, "global_step": 7, "lr_schedulers": []}
    one = workshop.migrate(workshop.save({**rest, "optimizer_states": [workshop.optimizer(state)]}, "one.pt"))
    both = [workshop.optimizer(state), workshop.optimizer(state)]
    two = workshop.migrate(workshop.save({**rest, "optimizer_states": both}, "two.pt"))

    assert one.states["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    (name,) = two.states
    assert [kept["param_groups"] for kept in two.states[name]] == [each["param_groups"] for each in both]


def test_experts_are_told_by_a_configuration_in_sections(workshop: Any) -> None:
    """As files with sections say them, and programs that keep the whole file."""
    path = workshop.save({"model_state_dict": workshop.state(), "config": {"model": {"top_k": 2}}})
    assert workshop.migrate(path).config["top_k"] == 2


def test_a_bare_state_dict(workshop: Any) -> None:
    """Is recognised by the names of its tensors."""
    (found,) = workshop.detections(workshop.save(workshop.state()))

    assert (found.version, found.confidence) == (V0_9, Confidence.CERTAIN)
    assert found.evidence[0] == "its entries are those of torch.save of a bare state dict"


def test_a_safetensors_file_with_old_names(workshop: Any, read: Any) -> None:
    """Weights that were exported by hand."""
    made = workshop.migrate(workshop.save(workshop.state()))
    path = workshop.folder / "exported.safetensors"
    old = workshop.state()
    _write_safetensors(path, old)
    again = workshop.migrate(path)

    assert made.model.keys() == again.model.keys()
    assert read(again.model["model.norm.weight"]) == old["layer_norm_final.weight"].data


def _write_safetensors(path: Path, tensors: Any) -> None:
    header, position = {}, 0
    for name, tensor in tensors.items():
        end = position + tensor.size
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    data = b"".join(tensor.data for tensor in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_the_compressed_embedding(workshop: Any) -> None:
    """It is recognised, and no model: it is refused, or kept as data."""
    root = {"token_embedding": {"core": workshop.tensor(3, 3)}, "compression_metadata": {"method": "htt"}}
    path = workshop.save(root)
    assert "holds a compressed embedding and no model" in workshop.why_not(path)
    made = workshop.migrate(path, checkpoint="data")

    assert made.states.keys() == {"token_embedding"}
    assert made.training_state["compression_metadata"] == {"method": "htt"}


def test_a_compressed_file_is_said_to_be_one(workshop: Any) -> None:
    """With what unpacks it."""
    path = workshop.folder / "step_100.pt"
    path.write_bytes(b"\x28\xb5\x2f\xfd rest")

    assert "compressed with Zstandard" in workshop.why_not(path)


@pytest.mark.parametrize(
    "root",
    [
        {"model_state_dict": {"layers.0.weight": 1}, "epoch": 1},
        {"state": {}, "param_groups": []},
        {"epoch": 3},
    ],
)
def test_what_others_saved_is_not_claimed(workshop: Any, root: Any) -> None:
    """A file of torch's without tensors of these models is nobody's here."""
    assert workshop.detections(workshop.save(root)) == []


def test_a_model_of_another_family_is_not_claimed(workshop: Any) -> None:
    """Neither as a file nor as a folder."""
    state = {"model.layers.0.self_attn.q_proj.weight": workshop.tensor(4, 4)}
    folder = workshop.save_folder("llama", {"model_type": "llama"}, {"pytorch_model.bin": state})

    assert workshop.detections(workshop.save(state)) == []
    assert workshop.detections(folder) == []
    assert workshop.plan(folder / "pytorch_model.bin").status == "unknown"


def test_what_is_current_is_left_alone(workshop: Any) -> None:
    """A second run changes nothing; a later format is refused."""
    path = workshop.save(workshop.state())
    made = workshop.migrate(path).path
    assert workshop.plan(made).status == "current"
    (found,) = workshop.detections(made)
    assert found.version == V1_0
    metadata = json.loads((made / "metadata.json").read_text())
    (made / "metadata.json").write_text(json.dumps({**metadata, "format_version": "2.0.0"}))

    assert "newer than any this program knows" in workshop.why_not(made)


def test_a_folder_of_checkpoints(workshop: Any) -> None:
    """Each is one, and those of others are passed over."""
    for name in ("best.pt", "latest.pt"):
        workshop.save({"model_state_dict": workshop.state(), "step": 1, "loss": 2.0}, name)
    workshop.save({"epoch": 3}, "others.pt")
    migrator = workshop.migrator
    migrator.apply(migrator.plan([workshop.folder]))

    assert sorted(entry.name for entry in workshop.folder.iterdir()) == ["best", "latest", "others.pt"]
