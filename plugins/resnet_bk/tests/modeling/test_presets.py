"""Presets have as many parameters as their names say."""

from __future__ import annotations

import pytest
import torch

from resnet_bk.configuration import ConfigurationError
from resnet_bk.modeling import ResNetBK
from resnet_bk.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_size_in_its_name(name: str) -> None:
    """Counted parameter by parameter, a preset's model has what its name says within 5 %."""
    units = {"m": 10**6, "b": 10**9}
    stated = int(name.removeprefix("resnet-bk-")[:-1]) * units[name[-1]]
    with torch.device("meta"):
        model = ResNetBK(preset(name))
    counted = sum(parameter.numel() for parameter in model.parameters())

    assert PRESETS[name].parameters == stated
    assert counted == model.parameter_count()
    assert abs(counted / stated - 1) < 0.05


def test_a_preset_can_be_changed() -> None:
    """Settings that are given take the place of the preset's."""
    config = preset("resnet-bk-1m", n_layers=2, mixer="diagonal")

    assert (config.n_layers, config.mixer, config.d_model) == (2, "diagonal", 128)


def test_an_unknown_preset_is_refused() -> None:
    """The error names the nearest preset."""
    with pytest.raises(ConfigurationError) as found:
        preset("resnet-bk-100")

    assert "resnet-bk-100m" in found.value.advice
