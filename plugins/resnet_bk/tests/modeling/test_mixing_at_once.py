"""A layer's inner steps in one compiled pass, and one after the other: the same model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling import green_mixer
from resnet_bk.resolvent import kernel_report

Maker = Callable[..., Any]

pytestmark = pytest.mark.skipif(
    not any(choice.name == "cpu" and choice.usable for choice in kernel_report("cpu")),
    reason="the compiled kernels are not there",
)
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "bound": {"free_heads": 0},
    "swiglu": {"feed_forward": "swiglu"},
    "no convolution": {"conv_kernel": 1},
    "odd": {"d_model": 20, "value_dim": 5, "key_dim": 3, "conv_kernel": 3},
}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Notes every time that a layer asks whether one pass will do, and the answer."""
    noted: list[bool] = []

    def ask(inputs: Any) -> bool:
        noted.append(green_mixer_can_mix(inputs))
        return noted[-1]

    green_mixer_can_mix = green_mixer.can_mix
    monkeypatch.setattr(green_mixer, "can_mix", ask)
    return noted


def step_by_step(model: Any) -> Any:
    """The same model, whose layers see that their reading was replaced."""
    for layer in model.model.layers:
        layer.mixer._read = layer.mixer._read
    return model


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_logits_gradients_and_states_are_the_same(make_model, tokens, passes, settings, padded):
    """With padding and without, at the beginning of a text and from a state."""
    found = []
    for change in (lambda model: model, step_by_step):
        model, ids = change(make_model(**settings).double()), tokens(3, 41)
        mask = torch.ones_like(ids)
        if padded:
            mask[0, :9] = 0
            mask[1, 37:] = 0
        first = model(ids, attention_mask=mask if padded else None, labels=ids, use_cache=True)
        layers = [
            {name: tensor.detach().clone() for name, tensor in state.items()}
            for state in first.past_key_values.layers
        ]
        second = model(tokens(3, 7, seed=2), past_key_values=first.past_key_values)
        (first.loss + second.logits.square().mean()).backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        found.append((first.logits[mask.bool()], second.logits, layers, gradients))
    assert passes == [True] * 4
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_hooks_of_the_convolution_are_called(make_model, tokens, passes):
    """Who listens to a step gets it; then the layer goes step by step."""
    model, ids = make_model(), tokens(2, 9)
    before = model(ids).logits
    seen: list[torch.Size] = []
    hook = model.model.layers[1].mixer.conv.register_forward_hook(
        lambda _module, given, _result: seen.append(given[0].shape)
    )
    passes.clear()
    after = model(ids).logits
    hook.remove()

    assert len(seen) == 1
    assert passes == [True]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["queries", "keys", "values"])
def test_what_is_not_finite_is_named(make_model, tokens, name):
    """As without the compiled pass."""
    model = make_model()
    mixer = model.model.layers[0].mixer
    queries, keys, _ = mixer.sizes
    place = {"queries": 0, "keys": queries, "values": queries + keys}[name]
    with torch.no_grad():
        mixer.conv.bias[place] = float("nan")

    with pytest.raises(InvalidInputError, match=name):
        model(tokens(2, 9))
