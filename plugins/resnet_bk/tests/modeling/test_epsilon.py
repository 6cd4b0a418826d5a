"""The epsilon of a model: how far from the spectrum the resolvent is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk.configuration import ConfigurationError, MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.modeling import ResNetBK
from resnet_bk.modeling.diagonal_mixer import DiagonalMixer
from resnet_bk.modeling.green_gates import ETA_FLOOR, GreenGates
from resnet_bk.prime_bump import PrimeBumpPotential

Models = Callable[..., Any]
Tokens = Callable[..., torch.Tensor]


@torch.no_grad()
def test_another_epsilon_is_another_model_and_the_old_one_is_the_old_model(
    make_model: Models, tokens: Tokens, settings: dict[str, Any]
) -> None:
    """Every kind of causal model computes something else, and exactly the same again when it is set back."""
    model, given = make_model(**settings), tokens(2, 24)
    before = model(given).logits
    model.set_epsilon(1.5)
    raised = model(given).logits
    model.set_epsilon(1.0)

    assert (raised - before).abs().max() > 1e-3
    assert torch.equal(model(given).logits, before)


@torch.no_grad()
def test_a_model_built_with_an_epsilon_is_one_that_was_set_to_it(
    make_model: Models, tokens: Tokens, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Setting, building and loading agree: the configuration says all there is to know."""
    model, given = make_model(**settings), tokens(1, 24)
    model.set_epsilon(0.5)
    built = make_model(**settings, epsilon=0.5)
    model.save_pretrained(tmp_path)
    loaded = ResNetBK.from_pretrained(tmp_path, dtype=torch.float32)

    expected = model(given).logits
    assert torch.equal(built(given).logits, expected)
    assert torch.allclose(loaded(given).logits, expected, atol=1e-6)
    assert loaded.epsilon == loaded.config.epsilon == 0.5


@pytest.mark.parametrize("settings", [{}, {"complex_heads": 2}])
@torch.no_grad()
def test_reading_token_by_token_uses_it_too(
    make_model: Models, tokens: Tokens, settings: dict[str, Any]
) -> None:
    """The paths for single tokens, written out for speed, have the same widths, also after a change."""
    model, given = make_model(**settings), tokens(1, 20)
    for value in (1.0, 1.7):
        model.set_epsilon(value)
        stream = model.stream_state()
        steps = torch.stack([stream.step(token) for token in given[0].tolist()], 1)
        assert torch.allclose(steps, model(given).logits, atol=1e-4)


@torch.no_grad()
def test_a_greater_epsilon_forgets_sooner(make_model: Models, tokens: Tokens) -> None:
    """What the first token changes at the last one is less the greater the epsilon is."""
    model, given = make_model(mixer="diagonal", diagonal_heads=8), tokens(1, 32)
    other = given.clone()
    other[0, 0] = (other[0, 0] + 1) % 61
    reach = []
    for value in (0.25, 1.0, 4.0):
        model.set_epsilon(value)
        reach.append(float((model(given).logits - model(other).logits)[0, -1].abs().max()))

    assert reach[0] > reach[1] > reach[2]


def test_the_widths_themselves_are_multiplied() -> None:
    """A gate's share of what is new, beta, is that of a chain with eta times epsilon."""
    gates = ResNetBK(MambaKillerConfig(vocab_size=9, d_model=32, n_layers=1)).model.layers[0].mixer.gates
    assert isinstance(gates, GreenGates)
    inputs = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    once = gates._sites(inputs, None, None).eta - ETA_FLOOR
    gates.epsilon = 3.0

    assert torch.allclose(gates._sites(inputs, None, None).eta, 3 * once + ETA_FLOOR)


def test_the_bumps_get_another_width(make_model: Models) -> None:
    """With prime bumps the potential is that of the new epsilon."""
    model = make_model(use_prime_bump=True)
    model.set_epsilon(2.0)
    (bumps,) = (module for module in model.modules() if isinstance(module, PrimeBumpPotential))

    assert torch.equal(bumps.values, PrimeBumpPotential(32, scale=0.02, epsilon=2.0, k_max=3).values)


def test_models_from_before_1_0_compute_what_they_computed() -> None:
    """Their z was fixed: an epsilon in the configuration of `diagonal-bidirectional` changes bumps only."""
    old = {"mixer": "diagonal-bidirectional", "vocab_size": 9}
    with pytest.warns(SeesTheFutureWarning):
        plain = ResNetBK(MambaKillerConfig(**old, epsilon=0.5))
    with pytest.warns(SeesTheFutureWarning):
        bumps = ResNetBK(MambaKillerConfig(**old, use_prime_bump=True))

    assert {m.epsilon for m in plain.modules() if isinstance(m, DiagonalMixer)} == {1.0}
    assert plain.epsilon is None
    with pytest.raises(ConfigurationError, match="no epsilon"):
        plain.set_epsilon(1.5)
    assert bumps.epsilon == 1.0
    bumps.set_epsilon(1.5)
    assert bumps.model.prime_bump.epsilon == bumps.config.epsilon == 1.5
    assert {m.epsilon for m in bumps.modules() if isinstance(m, DiagonalMixer)} == {1.0}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "1", True])
def test_what_is_no_epsilon_is_refused(make_model: Models, value: Any) -> None:
    """It is a number above 0; nothing is changed by one that is not."""
    model = make_model()
    with pytest.raises(ConfigurationError):
        model.set_epsilon(value)
    assert model.epsilon == 1.0
