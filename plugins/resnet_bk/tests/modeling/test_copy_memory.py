"""The memory of what followed: its formula, what it brings back, and where it can't be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

from resnet_bk.configuration import ConfigurationError, MambaKillerConfig
from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling import ResNetBK
from resnet_bk.modeling.weights import WeightsError

Maker = Callable[..., Any]
COPY = {"copy_key_dim": 8}


@torch.no_grad()
def test_it_is_the_resolvent_applied_to_pairs_of_a_state_and_what_followed(
    make_model: Maker, tokens: Maker
) -> None:
    """What is added equals the dense causal Green operator over all pairs before, in float64."""
    model, ids = make_model(**COPY).double(), tokens(1, 24)
    memory, gates = model.copy_memory, model.copy_memory.gates
    hidden = model.model(ids).last_hidden_state
    features = functional.silu(4 * hidden @ memory.proj.weight.T)[0]
    keys = torch.cat([torch.zeros_like(features[:1]), features[:-1]])
    rows = model.lm_head.weight[ids[0]]
    values = rows / rows.norm(dim=-1, keepdim=True)

    eta = functional.softplus(4 * hidden[0] @ gates.weight[0] + gates.rho[0]) + 1e-6
    ones = torch.ones(len(eta) - 1, dtype=torch.float64)
    matrix = torch.diag(-1j * eta) + torch.diag(ones, 1) + torch.diag(ones, -1)
    matrix[0, 0] -= 1j  # what an endless chain before the first site adds to it
    expected = torch.zeros_like(hidden[0])
    for last in range(len(eta)):
        # The last row of the resolvent of the first sites; the phase is left away.
        row = torch.linalg.inv(matrix[: last + 1, : last + 1])[-1]
        weights = row.abs() * torch.sqrt(eta[: last + 1]) / torch.sqrt(row[-1].imag)
        expected[last] = (weights * (keys[: last + 1] @ features[last])) @ values[: last + 1]

    found = model.model(ids, copying=model.copying(ids)).last_hidden_state[0]
    torch.testing.assert_close(found, hidden[0] + memory.scale * expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_it_brings_back_what_followed_the_same_token() -> None:
    """Before anything is learned, what came after this token gains on average, and no other as much."""
    torch.manual_seed(0)
    settings = {"vocab_size": 61, "d_model": 64, "n_layers": 1, "conv_kernel": 1}
    model = ResNetBK(MambaKillerConfig(**settings, copy_key_dim=64)).eval()
    model.model.layers[0].mixer.out_proj.weight.zero_()  # a state then says which token it is of
    model.copy_memory.gates.weight.zero_()
    gains = torch.zeros(61)
    for seed in range(20):
        ids = torch.randperm(61, generator=torch.Generator().manual_seed(seed))[None, :16]
        asked = torch.cat([ids, ids[:, 4:5]], 1)
        plain = model.lm_head(model.model(asked).last_hidden_state[0, -1])
        gains += (model(asked).logits[0, -1] - plain)[torch.roll(torch.arange(61), -int(ids[0, 5]))]

    assert int(gains.argmax()) == 0


@torch.no_grad()
def test_vectors_in_place_of_tokens_are_not_kept(make_model: Maker, tokens: Maker) -> None:
    """Which tokens they are is not known: the logits are those of a memory that is empty."""
    model, ids = make_model(**COPY), tokens(2, 12)
    found = model(inputs_embeds=model.get_input_embeddings()(ids)).logits
    expected = model.lm_head(model.model(ids).last_hidden_state)
    assert torch.equal(found, expected)


@torch.no_grad()
def test_the_model_without_output_is_without_it(make_model: Maker, tokens: Maker, tmp_path: Path) -> None:
    """`AutoModel` reads the same directory and gives the states that the memory is asked with."""
    model, ids = make_model(**COPY), tokens(2, 12)
    model.save_pretrained(tmp_path)
    backbone = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.equal(backbone(ids).last_hidden_state, model.model(ids).last_hidden_state)


@pytest.mark.parametrize(("saved", "wanted"), [(8, 0), (0, 8), (8, 4)])
def test_weights_without_a_place_are_refused(
    make_model: Maker, tmp_path: Path, saved: int, wanted: int
) -> None:
    """A configuration with another copy memory than the weights, or none, is an error."""
    make_model(copy_key_dim=saved).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="copy_memory"):
        ResNetBK.from_pretrained(tmp_path, config=make_model(copy_key_dim=wanted).config)


def test_it_learns(make_model: Maker, tokens: Maker) -> None:
    """Every parameter of it gets a gradient."""
    model, ids = make_model(**COPY).train(), tokens(2, 12)
    model(ids, labels=ids).loss.backward()
    assert all(
        parameter.grad is not None and (parameter.grad != 0).any()
        for name, parameter in model.copy_memory.named_parameters()
        if parameter.numel() and parameter.requires_grad
    )


def test_a_model_that_sees_the_future_has_none() -> None:
    """It would copy the answer: the setting is refused, by name."""
    with pytest.raises(ConfigurationError, match="would copy the answer") as caught:
        MambaKillerConfig(mixer="diagonal-bidirectional", copy_key_dim=8)
    assert caught.value.key == "copy_key_dim"


def test_without_it_nothing_of_it_is_there(make_model: Maker) -> None:
    """No parameters and no state."""
    model = make_model()
    assert not [name for name in model.state_dict() if name.startswith("copy_memory")]
    assert len(model(torch.zeros(1, 2, dtype=torch.long), use_cache=True).past_key_values.layers) == 2


@torch.no_grad()
def test_a_state_goes_on_with_what_it_comes_from(make_model: Maker, tokens: Maker) -> None:
    """The backbone alone has another state than the whole model, and each refuses the other's."""
    model, ids = make_model(**COPY), tokens(1, 3)
    with pytest.raises(InvalidInputError, match="the state has 2 parts, and there are 3"):
        model(ids, past_key_values=model.model(ids).past_key_values)
    with pytest.raises(InvalidInputError, match="the state has 3 parts, and there are 2"):
        model.model(ids, past_key_values=model(ids).past_key_values)


def test_its_state_is_counted(make_model: Maker) -> None:
    """`state_bytes` of the configuration are those of the state that is there."""
    model = make_model(**COPY)
    with torch.no_grad():
        cache = model(torch.zeros(1, 2, dtype=torch.long)).past_key_values
    assert cache.nbytes == model.config.state_bytes
