"""The tensors of old models get their places in 1.0, exactly; what has none is refused, or said."""

from __future__ import annotations

import json
import math
import struct
from collections import OrderedDict
from typing import Any

import pytest

from modelplug.migration.checkpoints import MadeTensor
from modelplug_migrators.resnet_bk.checkpoints.scalars import ETA_FLOOR, eta_of_rho, rho_of_eta, softplus

MIXER = "model.layers.0.mixer."


def floats(data: bytes) -> tuple[float, ...]:
    """Numbers of 32 bits."""
    return struct.unpack(f"<{len(data) // 4}f", data)


def findings(plan: Any, severity: str) -> list[str]:
    """What a plan tells."""
    return [str(finding) for finding in plan.findings if finding.severity.value == severity]


def test_every_tensor_of_an_old_model(workshop: Any, read: Any) -> None:
    """Moved ones keep their bytes, and the sums add up."""
    state = workshop.state()
    path = workshop.save(state)
    plan = workshop.plan(path)
    made = workshop.migrate(path)
    account = json.loads((made.path / "migration.json").read_text())

    assert account["counts"] == {
        "moved": 2 * 20 + 6,
        "transformed": 4,
        "inlined": 0,
        "dropped": 8,
        "added": 2,
    }
    assert len(state) == 2 * 26 + 6
    assert len(made.model) == 2 * 23 + 6
    for old, new in (
        ("token_embedding.weight", "model.embeddings.weight"),
        ("position_embedding.weight", "model.position_embeddings.weight"),
        ("blocks.1.bk_layer.v_proj.bias", "model.layers.1.mixer.potential.bias"),
        ("blocks.1.bk_layer.output_proj.weight", "model.layers.1.mixer.out_proj.weight"),
        (
            "blocks.0.bk_layer.moe_ffn.experts.2.0.weight",
            "model.layers.0.feed_forward.experts.2.up_proj.weight",
        ),
        (
            "blocks.0.bk_layer.moe_ffn.experts.2.3.bias",
            "model.layers.0.feed_forward.experts.2.down_proj.bias",
        ),
        ("blocks.0.bk_layer.moe_ffn.gating_network.bias", "model.layers.0.feed_forward.gate.proj.bias"),
        ("layer_norm_final.weight", "model.norm.weight"),
    ):
        assert read(made.model[new]) == state[old].data
    assert {key.key for key in plan.account.keys if key.fate.value == "dropped"} == {
        f"blocks.{layer}.bk_layer.{name}"
        for layer in range(2)
        for name in ("h0_diag_base", "h0_sub_base", "h0_super_base", "moe_ffn.scattering_step_counter")
    }
    (warning,) = findings(plan, "warning")
    assert warning.startswith("nothing in it says through how many experts each token goes")


def test_the_account_has_the_hash_of_every_tensor(workshop: Any) -> None:
    """Before and after; of moved ones they are equal."""
    import hashlib

    state = workshop.state()
    made = workshop.migrate(workshop.save(state))
    entries = json.loads((made.path / "migration.json").read_text())["tensors"]

    for entry in entries:
        if entry["before"] is not None:
            assert entry["sha256_before"] == hashlib.sha256(state[entry["before"]].data).hexdigest()
        if entry["fate"] == "moved":
            assert entry["sha256_after"] == entry["sha256_before"]
        assert (entry["why"] != "") == (entry["fate"] != "moved")


def test_the_scale_becomes_a_vector(workshop: Any, read: Any) -> None:
    """The same number for every channel; a vector stays as it is."""
    made = workshop.migrate(workshop.save(workshop.state()))
    assert floats(read(made.model[f"{MIXER}scale"])) == pytest.approx([0.7] * 8)
    state = workshop.state(scale=True)
    made = workshop.migrate(workshop.save(state, "vector.pt"))

    assert read(made.model[f"{MIXER}scale"]) == state["blocks.0.bk_layer.bk_scale"].data


@pytest.mark.parametrize("z", [1j, 0.25 + 0.5j, -2 + 3j])
def test_z_becomes_energy_and_width(workshop: Any, read: Any, z: complex) -> None:
    """The old chain had -2 on its diagonal, where that of 1.0 has 0."""
    made = workshop.migrate(workshop.save(workshop.state(z=z)))
    (energy,), (rho,) = (floats(read(made.model[f"{MIXER}{name}"])) for name in ("energy", "rho"))

    assert energy == pytest.approx(2 + z.real)
    assert eta_of_rho(rho) == pytest.approx(z.imag, rel=1e-6)


@pytest.mark.parametrize(("ffn", "floor"), [(False, 1e-6), (True, 1e-4)])
@pytest.mark.parametrize(("epsilon", "gamma"), [(1.0, 0.0), (0.3, 0.5), (-2.0, 0.1)])
def test_epsilon_and_gamma_become_the_width(
    workshop: Any, read: Any, ffn: bool, floor: float, epsilon: float, gamma: float
) -> None:
    """In the later versions the width was softplus(epsilon_param) with a floor, and gamma."""
    made = workshop.migrate(workshop.save(workshop.state(ffn=ffn, epsilon=epsilon, gamma=gamma, scale=True)))
    (energy,), (rho,) = (floats(read(made.model[f"{MIXER}{name}"])) for name in ("energy", "rho"))

    assert energy == 2
    assert eta_of_rho(rho) == pytest.approx(softplus(epsilon) + floor + gamma, rel=1e-6)


@pytest.mark.parametrize("z", [1, 1 - 1j, complex("nan"), complex(0, math.inf)])
def test_what_is_no_width_is_refused(workshop: Any, z: complex) -> None:
    """The resolvent needs a positive one."""
    assert "no energy with a width" in workshop.why_not(workshop.save(workshop.state(z=z)))


def test_the_width_survives_its_conversion() -> None:
    """Both ways, over the whole range."""
    for exponent in range(-5, 6):
        eta = 10.0**exponent + ETA_FLOOR
        assert eta_of_rho(rho_of_eta(eta)) == pytest.approx(eta, rel=1e-9)
    assert softplus(800.0) == 800.0
    assert softplus(-800.0) == 0.0


def test_the_chain_is_rebuilt_whatever_is_stored(workshop: Any) -> None:
    """Another one than the Laplacian is said, for then the logits are others."""
    path = workshop.save(workshop.state(ffn=True, epsilon=1.0, diagonal=(1.0, 0.0)))
    plan = workshop.plan(path)

    assert plan.status == "migrate"
    assert any("is not the Laplacian" in text for text in findings(plan, "warning"))
    assert not any(
        "Laplacian" in text
        for text in findings(workshop.plan(workshop.save(workshop.state(), "b.pt")), "warning")
    )


def test_a_low_rank_term_is_refused_or_left_out(workshop: Any) -> None:
    """Leaving it out has to be asked for, and is said."""
    path = workshop.save(workshop.state(low_rank=True))
    assert "1.0 has nothing for the low-rank term" in workshop.why_not(path)
    plan = workshop.plan(path, checkpoint="nearest")
    made = workshop.migrate(path, checkpoint="nearest")

    assert any("low-rank term is left out (4 tensors)" in text for text in findings(plan, "warning"))
    assert not any("birman" in name for name in made.model)


def test_experts_chosen_by_the_phase_are_refused(workshop: Any) -> None:
    """They depended on the other texts of a batch; as data they can be kept."""
    path = workshop.save(workshop.state(router=True))
    assert "chosen by the phase" in workshop.why_not(path)
    made = workshop.migrate(path, checkpoint="data")

    assert "blocks.0.bk_layer.v_proj.weight" in made.model
    assert made.config == {}


def test_tensors_without_a_place_are_named(workshop: Any) -> None:
    """And the checkpoint is refused."""
    state = workshop.state()
    state["blocks.0.bk_layer.hybrid_attn.q_proj.weight"] = workshop.tensor(8, 8)
    why = workshop.why_not(workshop.save(state))

    assert "1.0 has no place for blocks.0.bk_layer.hybrid_attn.q_proj.weight" in why
    assert "checkpoint=data" in why


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        ("token_embedding.weight", "there is no token_embedding.weight"),
        ("lm_head.weight", "lm_head.weight is missing"),
        ("blocks.0.bk_layer.moe_ffn.experts.1.0.weight", "some experts are missing"),
        ("blocks.1.bk_layer.v_proj.bias", "model.layers.1.mixer.potential.bias is missing"),
    ],
)
def test_an_incomplete_model_is_refused(workshop: Any, gone: str, text: str) -> None:
    """The first thing that is missing is named."""
    state = workshop.state()
    del state[gone]

    assert text in workshop.why_not(workshop.save(state))


def test_a_missing_layer_and_a_wrong_shape_are_refused(workshop: Any) -> None:
    """Both with the place."""
    state = workshop.state(layers=3)
    without = OrderedDict(
        (name, tensor) for name, tensor in state.items() if not name.startswith("blocks.1.")
    )
    assert "some layers are missing" in workshop.why_not(workshop.save(without))
    state["lm_head.weight"] = workshop.tensor(11, 9)

    assert "lm_head.weight is [11, 9] instead of [11, 8]" in workshop.why_not(workshop.save(state, "b.pt"))


def test_the_number_of_experts_for_a_token(workshop: Any) -> None:
    """As the configuration says it, else the arguments, else the user; one that can't be is refused."""
    state = workshop.state()
    told = workshop.migrate(workshop.save({"model_state_dict": state, "config": {"top_k": 2}}))
    argued = workshop.migrate(workshop.save({"model_state_dict": state, "args": {"top_k": 3}}, "b.pt"))
    asked = workshop.migrate(workshop.save(state, "c.pt"), top_k="2")

    assert [made.config["top_k"] for made in (told, argued, asked)] == [2, 3, 2]
    impossible = workshop.save({"model_state_dict": state, "config": {"top_k": 4}}, "d.pt")
    assert "4 of 3 experts" in workshop.why_not(impossible)


def test_the_configuration_is_that_of_the_old_model(workshop: Any) -> None:
    """Sizes from the tensors, the rest from the old configuration, which is kept as a whole."""
    config = {
        "d_model": 8, "vocab_size": 99, "dropout_p": 0.25, "v_max": 2.0, "grad_blend": 0.5, "epsilon": 0.75,
        "top_k": 1, "use_koopman": False, "note": float("nan"), "shape": (1, 2),
    }  # fmt: skip
    path = workshop.save({"model_state_dict": workshop.state(), "config": config})
    plan = workshop.plan(path)
    made = workshop.migrate(path)
    fates = {key.key: (key.fate.value, key.target) for key in plan.account.keys}

    assert made.config["mixer"] == "diagonal-bidirectional"
    assert (made.config["vocab_size"], made.config["n_seq"], made.config["intermediate_size"]) == (11, 6, 16)
    assert (made.config["dropout"], made.config["potential_limit"]) == (0.25, 2.0)
    assert (made.config["grad_blend"], made.config["epsilon"]) == (0.5, 0.75)
    assert made.metadata["config"]["use_koopman"] is False
    assert made.metadata["config"]["note"] == {"$": "float", "value": "nan"}
    assert fates["config.dropout_p"] == ("mapped", "config.json/dropout")
    assert fates["config.vocab_size"] == ("extras", "metadata/config/vocab_size")
    assert made.training_state["epsilon"] == 0.75


def test_shared_tensors_are_stored_once(workshop: Any, read: Any) -> None:
    """Tied input and output are one tensor with two names."""
    torch = pytest.importorskip("torch")
    state = {
        name: torch.frombuffer(bytearray(tensor.data), dtype=torch.float32).reshape(tensor.shape)
        for name, tensor in workshop.state().items()
        if tensor.dtype == "F32"
    }
    state["lm_head.weight"] = state["token_embedding.weight"]
    path = workshop.folder / "tied.pt"
    torch.save(state, path)
    made = workshop.migrate(path)

    assert made.config["tie_word_embeddings"] is True
    assert read(made.model["lm_head.weight"]) == read(made.model["model.embeddings.weight"])
    assert (made.path / "model.safetensors").stat().st_size < 20_000


def test_a_long_model_is_warned_about(workshop: Any) -> None:
    """From 968 tokens on the old program computed zeros."""
    state = workshop.state()
    state["position_embedding.weight"] = MadeTensor("F32", (1024, 8), bytes(1024 * 8 * 4))
    plan = workshop.plan(workshop.save(state))

    assert any("computed features of 0" in text for text in findings(plan, "warning"))
