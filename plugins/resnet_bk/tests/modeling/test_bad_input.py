"""What can't be computed with is refused, and the error names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import DynamicCache

from modelplug.errors import ModelplugError
from resnet_bk.configuration import ConfigurationError, MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling import ResNetBK, WeightsError

Maker = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "is empty"),
        ({"input_ids": torch.zeros(0, 3, dtype=torch.long)}, "is empty"),
        ({"input_ids": torch.tensor([[1, 61]])}, "no token 61"),
        ({"input_ids": torch.tensor([[1, -1]])}, "no token -1"),
        ({"input_ids": torch.tensor([[1.0, 2.0]])}, "torch.float32"),
        ({"input_ids": torch.tensor([[True, False]])}, "torch.bool"),
        ({"input_ids": torch.tensor([1, 2])}, "1 dimensions"),
        ({"input_ids": [[1, 2]]}, "not a tensor"),
        ({}, "either input_ids or inputs_embeds"),
        ({"inputs_embeds": torch.zeros(1, 3, 7)}, "inputs_embeds"),
        ({"inputs_embeds": torch.zeros(1, 0, 32)}, "is empty"),
        ({"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 1)}, "attention_mask"),
        ({"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 1, 2, 2)}, "attention_mask"),
    ],
)
def test_inputs_are_checked(make_model: Maker, arguments: dict[str, Any], words: str) -> None:
    """Empty texts, unknown tokens, wrong types and shapes are errors with a reason or a remedy."""
    with pytest.raises(InvalidInputError, match=words) as found:
        make_model()(**arguments)

    assert isinstance(found.value, ModelplugError)
    assert found.value.why or found.value.advice


def test_states_are_checked(make_model: Maker, tokens: Maker) -> None:
    """A state of another library, or of another number of texts, is refused."""
    model = make_model()
    cache = model(tokens(2, 3)).past_key_values

    with pytest.raises(InvalidInputError, match="DynamicCache"):
        model(tokens(2, 1), past_key_values=DynamicCache())
    with pytest.raises(InvalidInputError, match="of 2 texts, and there are 3"):
        model(tokens(3, 1), past_key_values=cache)


def test_a_fixed_length_is_kept(make_model: Maker, tokens: Maker) -> None:
    """A model with a fixed number of positions refuses a longer text, at once or in pieces."""
    with pytest.warns(SeesTheFutureWarning):
        old = make_model(mixer="diagonal-bidirectional", n_seq=16)
    causal = make_model(position_embeddings=True, n_seq=16)
    old(tokens(1, 16))
    cache = causal(tokens(1, 10)).past_key_values

    with pytest.raises(InvalidInputError, match="17 tokens, and this model takes 16"):
        old(tokens(1, 17))
    with pytest.raises(InvalidInputError, match="17 tokens"):
        causal(tokens(1, 7), past_key_values=cache)


def test_no_state_where_the_future_counts(make_model: Maker, tokens: Maker) -> None:
    """A model that sees the future has no state to go on from, and says so."""
    with pytest.warns(SeesTheFutureWarning):
        old = make_model(mixer="diagonal-bidirectional")

    with pytest.raises(InvalidInputError, match="no state"):
        old(tokens(1, 4), use_cache=True)


def test_a_model_of_another_kind_is_refused(make_model: Maker, tmp_path: Path) -> None:
    """The directory of another architecture is refused by its configuration."""
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')

    with pytest.raises(ConfigurationError, match="a llama model"):
        ResNetBK.from_pretrained(tmp_path)


def test_weights_of_another_model_are_refused(make_model: Maker, tmp_path: Path) -> None:
    """Weights that are missing, unknown or of another shape are an error, never random numbers."""
    model = make_model()
    model.save_pretrained(tmp_path)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    skip = "model.layers.0.mixer.skip"

    def refused(changed: dict[str, torch.Tensor]) -> WeightsError:
        save_file(changed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(WeightsError) as found:
            ResNetBK.from_pretrained(tmp_path)
        return found.value

    assert refused({name: tensor for name, tensor in weights.items() if name != skip}).missing == (skip,)
    assert refused({**weights, "model.extra": torch.zeros(2)}).unexpected == ("model.extra",)
    old = refused({**weights, "blocks.0.bk_layer.v_proj.bias": torch.zeros(1)})
    assert "modelplug migrate plan" in old.advice
    MambaKillerConfig(**{**model.config.to_dict(), "n_layers": 3}).save_pretrained(tmp_path)
    assert refused(weights).missing[0].startswith("model.layers.2.")


def test_weights_of_another_shape_are_refused(make_model: Maker, tmp_path: Path) -> None:
    """A tensor of another shape than the configuration asks for is an error."""
    model = make_model()
    model.save_pretrained(tmp_path)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["model.norm.weight"] = torch.ones(5)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(WeightsError, match=r"of another shape: model\.norm\.weight"):
        ResNetBK.from_pretrained(tmp_path)
