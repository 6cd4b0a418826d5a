"""Training with rounded weights, and quantising what was learned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resnet_bk import MixedPrecisionQuantization, QuantizedBirmanSchwinger
from resnet_bk.modeling import ResNetBK
from resnet_bk.quantization import QuantizationError, QuantizedModel
from resnet_bk.quantization.rounding import start_rounding

Maker = Callable[..., Any]

WAYS: dict[str, Callable[..., Any]] = {
    "int4": lambda model: QuantizedBirmanSchwinger(model, bits=4, group_size=16, qat=True),
    "mixed": lambda model: MixedPrecisionQuantization(
        model, {"experts": 4, "bk_core": 8, "output": 16}, qat=True
    ),
}


@pytest.fixture(params=sorted(WAYS))
def prepare(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Every way to prepare a model, one after the other."""
    return WAYS[request.param]


def train(model: Any, tokens: torch.Tensor, steps: int = 8) -> list[float]:
    """Train on one batch; the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    losses = []
    for _ in range(steps):
        loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


@torch.inference_mode()
def logits_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What a model says of tokens."""
    return model(tokens).logits


def test_training_lowers_the_loss_and_converting_keeps_the_logits(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], prepare: Maker
) -> None:
    """Weights learn although they are rounded; the converted model gives exactly the logits of before."""
    model = make_model(**settings)
    prepared = prepare(model)
    losses = train(prepared, tokens)
    before = logits_of(prepared, tokens)
    float_size = prepared.size_in_bytes()

    assert losses[-1] < 0.9 * losses[0]
    assert prepared.learns
    assert prepared.convert() is prepared
    assert not prepared.learns
    assert torch.equal(logits_of(prepared, tokens), before)
    assert prepared.size_in_bytes() < 0.6 * float_size
    original = make_model(**settings)
    assert all(map(torch.equal, model.state_dict().values(), original.state_dict().values()))


def test_before_training_it_is_the_quantised_model(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], prepare: Maker
) -> None:
    """Prepared, a model computes what the one that is quantised at once computes."""
    prepared = prepare(make_model(**settings))
    quantized = QuantizedModel(make_model(**settings), prepared.plan)

    assert torch.equal(logits_of(prepared, tokens), logits_of(quantized, tokens))


def test_every_matrix_has_a_gradient(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], prepare: Maker
) -> None:
    """All parameters of a usual model are there under the same names, and the loss reaches all of them."""
    model = make_model(**settings)
    prepared = prepare(model)
    model(tokens, labels=tokens).loss.backward()
    prepared(tokens, labels=tokens).loss.backward()
    usual = {name: parameter.grad is not None for name, parameter in model.named_parameters()}

    assert {name: p.grad is not None for name, p in prepared.named_parameters()} == usual


def test_the_gradient_is_that_of_the_identity() -> None:
    """A rounded layer's weight gets the gradient that its rounded weight would get."""
    torch.manual_seed(0)
    layer, inputs = nn.Linear(10, 3), torch.randn(4, 10)
    start_rounding(layer, 4, 5)
    rounded = layer.weight.detach().clone().requires_grad_()
    layer(inputs).square().sum().backward()
    nn.functional.linear(inputs, rounded, layer.bias).square().sum().backward()

    assert not torch.equal(rounded, layer._parameters["weight"])
    assert torch.equal(layer._parameters["weight"].grad, rounded.grad)


def test_a_copy_goes_its_own_way(make_model: Maker, tokens: torch.Tensor, prepare: Maker) -> None:
    """Converting a prepared model leaves its copy prepared, and the other way round."""
    prepared = prepare(make_model())
    other = copy.deepcopy(prepared)
    before = logits_of(other, tokens)
    prepared.convert()

    assert other.learns
    assert torch.equal(logits_of(other, tokens), before)
    assert train(other, tokens)[-1] < train(prepare(make_model()), tokens, steps=1)[0]


def test_a_training_is_saved_as_a_usual_model(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], prepare: Maker, tmp_path: Path
) -> None:
    """What is saved before converting is a usual model with the weights so far, from which one goes on."""
    prepared = prepare(make_model(**settings))
    train(prepared, tokens, steps=2)
    prepared.save_pretrained(tmp_path)
    loaded = ResNetBK.from_pretrained(tmp_path)

    assert not hasattr(loaded.config, "quantization_config")
    assert all(map(torch.equal, loaded.state_dict().values(), prepared.state_dict().values()))
    assert torch.equal(logits_of(prepare(loaded), tokens), logits_of(prepared, tokens))


def test_a_stream_reads_rounded_weights(make_model: Maker, tokens: torch.Tensor, prepare: Maker) -> None:
    """Decoding token by token takes no way around the rounding."""
    prepared = prepare(make_model())
    whole = logits_of(prepared, tokens[:1])[0]
    stream = prepared.stream_state()
    stream.prefill(tokens[0, :4].tolist())
    stepped = torch.stack([stream.step(token)[0] for token in tokens[0, 4:].tolist()])

    assert torch.allclose(stepped, whole[4:], atol=1e-4 * float(whole.abs().max()))


def test_what_comes_after_converting_is_refused_before(make_model: Maker) -> None:
    """Before `convert()` there is nothing to report or to dequantise."""
    prepared = QuantizedBirmanSchwinger(make_model(), qat=True)
    for call in (prepared.report, prepared.dequantize):
        with pytest.raises(QuantizationError, match="yet") as caught:
            call()
        assert "convert()" in caught.value.advice
