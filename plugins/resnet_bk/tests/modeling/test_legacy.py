"""Programs for versions before 1.0 go on working, and are told what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_bk.configuration import MambaKillerConfig, UnknownSettingError
from resnet_bk.legacy import LanguageModel
from resnet_bk.modeling import ResNetBK

Maker = Callable[..., Any]


def made(*arguments: Any, **settings: Any) -> Any:
    """A model of the old class, and the warning that names the command."""
    with pytest.warns(DeprecationWarning, match="modelplug migrate plan"):
        return LanguageModel(*arguments, **settings)


@torch.no_grad()
def test_the_old_class_is_the_new_model(tokens: Maker) -> None:
    """For the same settings and seed it gives the logits of `ResNetBK`, as a tensor."""
    settings = {"vocab_size": 61, "d_model": 32, "n_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        old = made(**settings).eval()
        torch.manual_seed(0)
        new = ResNetBK(MambaKillerConfig(**settings)).eval()

    assert torch.equal(old(tokens(2, 9)), new(tokens(2, 9)).logits)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((61, 32, 2, 64, 4, 1, 0.1), {}),
        (
            (61, 32),
            {"n_layers": 2, "n_seq": 64, "num_experts": 4, "dropout_p": 0.1, "use_birman_schwinger": True},
        ),
        (
            ({"vocab_size": 61, "d_model": 32, "n_layers": 2},),
            {"max_seq_len": 64, "num_experts": 4, "dropout": 0.1},
        ),
        (
            (
                MambaKillerConfig(
                    vocab_size=61, d_model=32, n_layers=2, n_seq=64, num_experts=4, top_k=1, dropout=0.1
                ),
            ),
            {},
        ),
    ],
)
def test_settings_come_in_every_old_way(arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
    """In order, by old names, as a mapping, or as a configuration."""
    config = made(*arguments, **settings).config

    assert (config.vocab_size, config.d_model, config.n_layers, config.n_seq) == (61, 32, 2, 64)
    assert (config.num_experts, config.top_k, config.dropout) == (4, 1, 0.1)
    assert config.feed_forward == "experts"


def test_what_is_no_setting_is_refused() -> None:
    """An unknown name, and more settings without a name than all versions had in common, are errors."""
    with (
        pytest.warns(DeprecationWarning, match="2.0"),
        pytest.raises(UnknownSettingError, match="use_symplectic"),
    ):
        LanguageModel(vocab_size=61, use_symplectic=True)
    with (
        pytest.warns(DeprecationWarning, match="2.0"),
        pytest.raises(UnknownSettingError, match="7 settings"),
    ):
        LanguageModel(61, 32, 2, 64, 4, 1, 0.1, True)
