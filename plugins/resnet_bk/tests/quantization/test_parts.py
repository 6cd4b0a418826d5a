"""Which weights get how many bits, what is refused, and what the report says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resnet_bk import MixedPrecisionQuantization, QuantizedBirmanSchwinger
from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling import ResNetBK
from resnet_bk.quantization import QuantizationError, QuantizedModel, size_in_bytes
from resnet_bk.quantization.layers import QuantizedMatrix, TiedOutput

Maker = Callable[..., Any]


def bits_by_name(model: nn.Module) -> dict[str, int]:
    """The bits of every quantised matrix."""
    return {name: layer.bits for name, layer in model.named_modules() if isinstance(layer, QuantizedMatrix)}


def test_parts_of_experts(make_model: Maker) -> None:
    """Experts, mixers, output and embeddings get what their part has; what routes tokens stays as it is."""
    model = make_model(num_experts=2, use_scattering_router=False, n_layers=1)
    quantized = MixedPrecisionQuantization(model, {"experts": 4, "bk_core": 8, "output": 16})

    assert bits_by_name(quantized) == {
        "model.embeddings": 8,
        "model.layers.0.mixer.in_proj": 8,
        "model.layers.0.mixer.gates.projection": 8,
        "model.layers.0.mixer.out_proj": 8,
        "model.layers.0.feed_forward.experts.0.up_proj": 4,
        "model.layers.0.feed_forward.experts.0.down_proj": 4,
        "model.layers.0.feed_forward.experts.1.up_proj": 4,
        "model.layers.0.feed_forward.experts.1.down_proj": 4,
        "lm_head": 16,
    }
    assert type(quantized.model.layers[0].feed_forward.gate.proj) is nn.Linear


def test_parts_of_a_dense_model(make_model: Maker) -> None:
    """A SwiGLU counts as experts, the diagonal mixer as core, positions as embeddings."""
    model = make_model(n_layers=1, mixer="diagonal", feed_forward="swiglu", position_embeddings=True)
    quantized = MixedPrecisionQuantization(model, {"experts": 4, "bk_core": 16, "embedding": 8})

    assert bits_by_name(quantized) == {
        "model.embeddings": 8,
        "model.position_embeddings": 8,
        "model.layers.0.mixer.potential": 16,
        "model.layers.0.mixer.out_proj": 16,
        "model.layers.0.feed_forward.gate_up_proj": 4,
        "model.layers.0.feed_forward.down_proj": 4,
    }
    assert type(quantized.lm_head) is nn.Linear


def test_parts_of_a_copy_memory(make_model: Maker) -> None:
    """A copy memory counts as core, and what it brings back is what the quantised output matrix says."""
    model = make_model(n_layers=1, copy_key_dim=6)
    quantized = MixedPrecisionQuantization(model, {"bk_core": 4, "output": 8})
    bits = bits_by_name(quantized)
    copying = quantized.copying(torch.zeros(1, 1, dtype=torch.long))

    assert copying is not None
    assert bits["copy_memory.proj"] == bits["copy_memory.gates.projection"] == 4
    assert torch.equal(copying.output.weight, quantized.lm_head.weight)
    assert not torch.equal(copying.output.weight, model.lm_head.weight)


def test_older_names_and_32_bits(make_model: Maker) -> None:
    """The YAML files' names mean the same, and 32 leaves a part as it is."""
    model = make_model(n_layers=1, feed_forward="swiglu")
    old = MixedPrecisionQuantization(
        model, {"moe_experts": 4, "bk_core": 32, "output_layers": 8, "embedding": 32}
    )

    assert set(bits_by_name(old)) == {
        "model.layers.0.feed_forward.gate_up_proj",
        "model.layers.0.feed_forward.down_proj",
        "lm_head",
    }
    assert old.plan.bits == {"experts": 4, "output": 8}


@pytest.mark.parametrize(
    "make",
    [
        lambda model: QuantizedBirmanSchwinger(model, bits=4),
        lambda model: MixedPrecisionQuantization(model, {"output": 4}),
        lambda model: MixedPrecisionQuantization(model, {"embedding": 4}),
    ],
)
def test_a_shared_table_stays_one(make_model: Maker, make: Maker) -> None:
    """Tied embeddings are quantised once, and the output reads the same codes."""
    quantized = make(make_model(tie_word_embeddings=True))
    table = quantized.model.embeddings

    assert bits_by_name(quantized)["model.embeddings"] == 4
    assert isinstance(quantized.lm_head, TiedOutput)
    assert torch.equal(quantized.lm_head.weight, table.weight)
    assert not [name for name in quantized.state_dict() if name.startswith("lm_head")]
    table.codes.zero_()
    assert not quantized(torch.zeros(1, 3, dtype=torch.long)).logits.any()


def test_a_shared_table_that_stays_as_it_is(make_model: Maker) -> None:
    """Where neither output nor embedding is asked for, tied embeddings stay tied."""
    quantized = MixedPrecisionQuantization(make_model(tie_word_embeddings=True), {"bk_core": 8})

    assert quantized.lm_head.weight is quantized.model.embeddings.weight


def test_the_size_is_that_of_all_tensors(make_model: Maker, tmp_path: Path) -> None:
    """Its size is that of the tensors in its file, and the report's parts add up to it."""
    for settings in ({}, {"tie_word_embeddings": True}, {"num_experts": 2, "head_bias": True}):
        model = make_model(**settings)
        quantized = QuantizedBirmanSchwinger(model, bits=4, group_size=16, embeddings=True)
        quantized.save_pretrained(tmp_path)
        with (tmp_path / "model.safetensors").open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        assert quantized.size_in_bytes() == (tmp_path / "model.safetensors").stat().st_size - 8 - header
        report = quantized.report()
        assert report.bytes_after == quantized.size_in_bytes()
        assert report.bytes_before == size_in_bytes(model)


def test_four_bits_take_half_a_byte(make_model: Maker) -> None:
    """Codes of 4 bits take half of those of 8, and an eighth of float32."""
    model = make_model()
    four, eight = (QuantizedBirmanSchwinger(model, bits=bits).lm_head.codes for bits in (4, 8))

    assert eight.numel() * eight.element_size() == 61 * 42
    assert four.numel() * four.element_size() == 61 * 21


def test_the_report_says_what_was_lost(make_model: Maker) -> None:
    """Errors are measured on the weights themselves; a part that stays has none, nor has a loaded model."""
    model = make_model()
    quantized = QuantizedBirmanSchwinger(model, bits=8)
    parts = {part.part: part for part in quantized.report().parts}
    weight, rounded = model.lm_head.weight.double(), quantized.lm_head.weight.double()

    expected = float(((weight - rounded).norm() / weight.norm()).detach())
    assert parts["output"].worst_error == parts["output"].mean_error == pytest.approx(expected)
    assert parts["bk_core"].matrices == 6
    assert (parts["bk_core"].worst_error or 0) > (parts["bk_core"].mean_error or 0) > 0
    assert parts["embedding"].bits is None
    assert parts["embedding"].bytes_after == parts["embedding"].bytes_before == 61 * 42 * 4
    assert parts["embedding"].worst_error is None
    assert "bk_core        8" in str(quantized.report())


def test_a_loaded_report_has_sizes_but_no_errors(make_model: Maker, tmp_path: Path) -> None:
    """Files don't say what was lost; sizes are the same."""
    quantized = QuantizedBirmanSchwinger(make_model(), bits=8)
    quantized.save_pretrained(tmp_path)
    loaded = QuantizedBirmanSchwinger.from_pretrained(tmp_path)

    assert loaded.report().bytes_before == quantized.report().bytes_before
    assert all(part.worst_error is None for part in loaded.report().parts)
    assert "-" in str(loaded.report())


@pytest.mark.parametrize(
    ("config", "key", "nearest"),
    [
        ({"expert": 4}, "expert", "experts"),
        ({"moe_expert": 4}, "moe_expert", "experts"),
        ({"bk-core": 4}, "bk-core", "bk_core"),
        ({"output_layer": 4}, "output_layer", "output"),
        ({"zzz": 4}, "zzz", ""),
        ({"experts": 5}, "experts", "4"),
        ({"experts": 3.0}, "experts", "4"),
        ({"output": 24}, "output", "16"),
        ({"output": "8"}, "output", ""),
        ({"output": True}, "output", ""),
        ({"output": 8, "output_layers": 8}, "output_layers", ""),
    ],
)
def test_unknown_parts_and_bits(make_model: Maker, config: dict[str, Any], key: str, nearest: str) -> None:
    """What is no part, or no number of bits, is named, with the nearest that is."""
    with pytest.raises(QuantizationError) as caught:
        MixedPrecisionQuantization(make_model(), config)

    assert caught.value.key == key
    assert caught.value.nearest == nearest
    assert caught.value.exit_code == 2
    assert nearest in caught.value.advice


@pytest.mark.parametrize("bits", [0, 2, 32, 8.0, None, "int8"])
def test_bits_of_a_whole_model(make_model: Maker, bits: Any) -> None:
    """Only 4, 8 and 16 are possible."""
    with pytest.raises(QuantizationError, match="only 4, 8 or 16"):
        QuantizedBirmanSchwinger(make_model(), bits=bits)


@pytest.mark.parametrize("size", [0, -1, 1.5, "128", True])
def test_group_sizes(make_model: Maker, size: Any) -> None:
    """A group has at least one weight."""
    with pytest.raises(QuantizationError, match="group_size"):
        QuantizedBirmanSchwinger(make_model(), group_size=size)


def test_a_shared_table_has_one_number_of_bits(make_model: Maker) -> None:
    """Different bits for tied output and embeddings are refused; the model stays as it was."""
    model = make_model(tie_word_embeddings=True)
    with pytest.raises(QuantizationError, match="16 and 8 bits"):
        MixedPrecisionQuantization(model, {"output": 16, "embedding": 8}, copy=False)

    assert not bits_by_name(model)


def test_what_is_no_model(make_model: Maker, tmp_path: Path) -> None:
    """What can't be quantised says what it is: other modules, other layers, and what is quantised already."""
    model = make_model()
    with pytest.raises(QuantizationError, match="takes a ResNet-BK model, not Linear"):
        QuantizedBirmanSchwinger(nn.Linear(2, 2))
    with pytest.raises(QuantizationError, match="not ResNetBKModel"):
        QuantizedBirmanSchwinger(model.model)
    with pytest.raises(QuantizationError, match="as a mapping, not as int"):
        MixedPrecisionQuantization(model, 8)  # type: ignore[arg-type]
    quantized = QuantizedBirmanSchwinger(model)
    with pytest.raises(QuantizationError, match="quantised already"):
        QuantizedBirmanSchwinger(quantized)
    with pytest.raises(QuantizationError, match="quantised already"):
        quantized.convert()
    model.lm_head = nn.Sequential(model.lm_head)
    with pytest.raises(QuantizationError, match="lm_head is not a layer of this package"):
        QuantizedBirmanSchwinger(model)


def test_usual_weights_are_no_quantised_model(make_model: Maker, tmp_path: Path) -> None:
    """Loading a usual model as a quantised one says how to make it one."""
    make_model().save_pretrained(tmp_path)
    with pytest.raises(QuantizationError, match="is not quantised"):
        QuantizedBirmanSchwinger.from_pretrained(tmp_path)


@pytest.mark.parametrize(("value", "bits"), [(float("nan"), 8), (float("inf"), 4), (7e4, 16)])
def test_weights_that_no_code_stands_for(make_model: Maker, value: float, bits: int) -> None:
    """A weight that is not finite, or too large for 16 bits, is named; nothing is changed before."""
    model = make_model()
    with torch.no_grad():
        model.lm_head.weight[3, 4] = value
    with pytest.raises(InvalidInputError, match="lm_head"):
        QuantizedBirmanSchwinger(model, bits=bits, copy=False)

    assert not bits_by_name(model)


def test_classes_are_models(make_model: Maker) -> None:
    """Quantised models are of the class that other code asks for."""
    quantized = MixedPrecisionQuantization(make_model(), {"output": 8})

    assert isinstance(quantized, ResNetBK)
    assert isinstance(quantized, QuantizedModel)
