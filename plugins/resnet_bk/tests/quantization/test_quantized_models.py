"""Quantised models: used as the models they were made from, which stay as they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from resnet_bk import CheckpointManager, MixedPrecisionQuantization, QuantizedBirmanSchwinger
from resnet_bk.evaluation import StreamingEvaluator
from resnet_bk.legacy import LanguageModel
from resnet_bk.modeling import ResNetBK, ResNetBKModel
from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.quantization import ResNetBKQuantizationConfig

Maker = Callable[..., Any]

WAYS: dict[str, Callable[..., Any]] = {
    "int8": lambda model: QuantizedBirmanSchwinger(model, bits=8),
    "int4": lambda model: QuantizedBirmanSchwinger(model, bits=4, group_size=16, embeddings=True),
    "mixed": lambda model: MixedPrecisionQuantization(model, {"experts": 4, "bk_core": 8, "output": 16}),
}


@pytest.fixture(params=sorted(WAYS))
def quantize(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Every way to quantise a model, one after the other."""
    return WAYS[request.param]


@torch.inference_mode()
def logits_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What a model says of tokens."""
    return model(tokens).logits


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far apart two tensors are, relative to the second."""
    return float((one - other).norm() / other.norm())


def test_it_computes_with_the_rounded_weights(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker
) -> None:
    """Its logits are exactly those of a usual model that has the decoded weights in every place."""
    model = make_model(**settings)
    quantized = quantize(model)
    plain = quantized.dequantize()

    assert type(plain) is ResNetBK
    assert {type(layer) for layer in plain.modules()} == {type(layer) for layer in model.modules()}
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert not hasattr(plain.config, "quantization_config")
    assert torch.equal(logits_of(plain, tokens), logits_of(quantized, tokens))


def test_the_original_stays_as_it_is(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker
) -> None:
    """Quantising changes neither the layers nor the weights nor the configuration of the model given."""
    model, same = make_model(**settings), make_model(**settings)
    before = logits_of(model, tokens)
    quantized = quantize(model)

    assert not torch.equal(logits_of(quantized, tokens), before)
    assert torch.equal(logits_of(model, tokens), before)
    assert model.config.to_dict() == same.config.to_dict()
    assert model.state_dict().keys() == same.state_dict().keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in same.state_dict().items())


def test_eight_bits_hardly_change_the_logits(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any]
) -> None:
    """8 bits move logits by less than a tenth of what they are, and less than 4 do; 16 less than 8."""
    if settings.get("use_scattering_router", True) and "num_experts" in settings:
        settings = {**settings, "num_experts": 1, "top_k": 1}  # a rounded layer before may change the choice
    model = make_model(**settings)
    before = logits_of(model, tokens)
    moved = [
        difference(logits_of(QuantizedBirmanSchwinger(model, bits), tokens), before) for bits in (16, 8, 4)
    ]

    assert moved == sorted(moved)
    assert moved[1] < 0.1


def test_saved_and_loaded_it_gives_the_same(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker, tmp_path: Path
) -> None:
    """It loads by its own class, the usual one and the Auto class, with the same logits bit by bit."""
    quantized = quantize(make_model(**settings))
    quantized.save_pretrained(tmp_path)
    before = logits_of(quantized, tokens)

    for kind in (type(quantized), ResNetBK, AutoModelForCausalLM):
        loaded = kind.from_pretrained(tmp_path)
        assert isinstance(loaded, ResNetBK)
        assert torch.equal(logits_of(loaded, tokens), before)
        assert loaded.config.architectures == ["ResNetBKForCausalLM"]
    headless = AutoModel.from_pretrained(tmp_path)
    assert type(headless) is ResNetBKModel
    with torch.inference_mode():
        assert torch.equal(headless(tokens).last_hidden_state, quantized.model(tokens).last_hidden_state)
    assert type(quantized).from_pretrained(tmp_path).plan == quantized.plan


def test_loaded_twice_and_saved_again(make_model: Maker, tokens: torch.Tensor, tmp_path: Path) -> None:
    """What the usual class loaded can be saved again, and its files are the same."""
    QuantizedBirmanSchwinger(make_model(), bits=4).save_pretrained(tmp_path / "one")
    ResNetBK.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")

    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_half_precision_keeps_bits(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker, tmp_path: Path
) -> None:
    """Models in bfloat16 are quantised, computed with, saved and loaded like others."""
    quantized = quantize(make_model(**settings).to(torch.bfloat16))
    before = logits_of(quantized, tokens)
    quantized.save_pretrained(tmp_path)

    assert before.dtype == torch.bfloat16
    assert torch.equal(logits_of(ResNetBK.from_pretrained(tmp_path), tokens), before)


def test_a_checkpoint_of_a_quantised_model(make_model: Maker, tokens: torch.Tensor, tmp_path: Path) -> None:
    """A checkpoint manager keeps codes like other weights, for a model quantised likewise and for loading."""
    quantized = QuantizedBirmanSchwinger(make_model(), bits=4)
    other = QuantizedBirmanSchwinger(make_model(seed=1), bits=4)
    manager = CheckpointManager(tmp_path)
    path = manager.save_checkpoint(model=quantized)
    manager.load(path, model=other)

    for loaded in (other, ResNetBK.from_pretrained(path)):
        assert torch.equal(logits_of(loaded, tokens), logits_of(quantized, tokens))


def test_conversion_after_quantising(make_model: Maker, tokens: torch.Tensor, quantize: Maker) -> None:
    """A quantised model that is converted computes in the new dtype; its codes stay what they were."""
    quantized = quantize(make_model())
    before = logits_of(quantized, tokens)
    codes = {name: value.clone() for name, value in quantized.named_buffers() if name.endswith("codes")}
    quantized.to(torch.bfloat16)

    assert logits_of(quantized, tokens).dtype == torch.bfloat16
    assert difference(logits_of(quantized, tokens).float(), before) < 0.1
    assert all(torch.equal(value, codes[name]) for name, value in quantized.named_buffers() if name in codes)


def test_state_dict_copy_and_pickle(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker
) -> None:
    """Its tensors go into another one quantised likewise; a copy and a pickled one give the same logits."""
    quantized = quantize(make_model(**settings))
    other = quantize(make_model(seed=1, **settings))
    before = logits_of(quantized, tokens)
    assert not torch.equal(logits_of(other, tokens), before)
    other.load_state_dict(quantized.state_dict())

    assert torch.equal(logits_of(other, tokens), before)
    assert torch.equal(logits_of(copy.deepcopy(quantized), tokens), before)
    assert torch.equal(logits_of(pickle.loads(pickle.dumps(quantized)), tokens), before)


def test_generation_and_streams(
    make_model: Maker, tokens: torch.Tensor, settings: dict[str, Any], quantize: Maker
) -> None:
    """`generate`, streams and streaming evaluation give what calling it gives: no way around the codes."""
    quantized = quantize(make_model(**settings))
    whole = logits_of(quantized, tokens[:1])[0]
    stream = quantized.stream_state()
    stepped = [stream.prefill(tokens[0, :4].tolist())[0]]
    stepped += [stream.step(token)[0] for token in tokens[0, 4:].tolist()]
    made = quantized.generate(tokens[:1], max_new_tokens=3, do_sample=False)
    loss = StreamingEvaluator(quantized, chunk_size=5).evaluate(tokens[0]).loss

    assert torch.allclose(torch.stack(stepped), whole[3:], atol=1e-4 * float(whole.abs().max()))
    assert made[0, 12] == whole[-1].argmax()
    expected = nn.functional.cross_entropy(whole[:-1], tokens[0, 1:])
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_in_place(make_model: Maker, tokens: torch.Tensor) -> None:
    """With copy=False the model given is quantised itself, and shares its layers with the result."""
    model = make_model(tie_word_embeddings=True)
    quantized = QuantizedBirmanSchwinger(model, bits=4, copy=False)

    assert list(model.modules())[1:] == list(quantized.modules())[1:]
    assert not any(type(layer) in (nn.Linear, nn.Embedding, GreenGates) for layer in model.modules())
    assert torch.equal(logits_of(model, tokens), logits_of(quantized, tokens))


def test_usual_weights_are_quantised_while_loading(
    make_model: Maker, tokens: torch.Tensor, tmp_path: Path
) -> None:
    """`from_pretrained(..., quantization_config=)` gives what quantising the loaded model gives."""
    model = make_model()
    model.save_pretrained(tmp_path)
    config = ResNetBKQuantizationConfig({"bk_core": 4, "experts": 4, "output": 4}, group_size=16)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)

    expected = QuantizedBirmanSchwinger(model, bits=4, group_size=16)
    assert torch.equal(logits_of(loaded, tokens), logits_of(expected, tokens))


def test_a_model_of_old(tokens: torch.Tensor) -> None:
    """A `LanguageModel` is quantised too; the result is called as `ResNetBK` is."""
    with pytest.warns(DeprecationWarning, match="LanguageModel"):
        model = LanguageModel(vocab_size=61, d_model=32, n_layers=1)
    quantized = QuantizedBirmanSchwinger(model.eval(), bits=8)

    with torch.inference_mode():
        assert difference(quantized(tokens).logits, model(tokens)) < 0.05


def test_half_is_refused(make_model: Maker) -> None:
    """`half()` says at once that it is not for quantised models, as for all of transformers."""
    with pytest.raises(ValueError, match="not supported for quantized"):
        QuantizedBirmanSchwinger(make_model()).half()
