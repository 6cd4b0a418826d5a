"""Settings are checked when they are given, and a saved configuration says everything."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from modelplug.errors import ModelplugError
from resnet_bk.configuration import (
    ConfigurationError,
    MambaKillerConfig,
    ResNetBKConfig,
    UnknownSettingError,
    UnusedSettingWarning,
)
from resnet_bk.modeling import ResNetBK

SPECIFIED = [
    "vocab_size",
    "d_model",
    "n_layers",
    "n_seq",
    "epsilon",
    "use_prime_bump",
    "prime_bump_scale",
    "k_max",
    "use_scattering_router",
    "num_experts",
    "top_k",
    "use_clark_measure",
    "use_mourre",
    "use_lap",
    "schatten_threshold",
    "precision_upgrade_threshold",
    "use_semiseparable",
    "low_rank",
    "use_cpu_offload",
    "use_act",
    "act_halt_threshold",
    "learning_rate",
    "batch_size",
    "gradient_checkpointing",
    "mixed_precision",
    "epsilon_schedule",
    "clark_measure_weight",
]


def test_every_setting_of_the_family_is_known() -> None:
    """All 27 settings that the family has always had can be given, and are there."""
    config = MambaKillerConfig()
    given = {name: getattr(config, name) for name in SPECIFIED}

    assert len(given) == 27
    assert {name: MambaKillerConfig(**given).to_dict()[name] for name in SPECIFIED} == given
    assert ResNetBKConfig is MambaKillerConfig


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("d_modle", "d_model"),
        ("prime_bump_init", "use_prime_bump"),
        ("dropout_p", "dropout"),
        ("max_seq_len", "n_seq"),
        ("num_layers", "n_layers"),
        ("nothing_like_it_at_all", ""),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(wrong: str, meant: str) -> None:
    """A name that is none is an error which names the setting that was probably meant."""
    with pytest.raises(UnknownSettingError) as found:
        MambaKillerConfig(**{wrong: 1})

    assert isinstance(found.value, ModelplugError)
    assert (found.value.key, found.value.nearest) == (wrong, meant)
    assert meant in found.value.advice


@pytest.mark.parametrize(
    "settings",
    [
        {"d_model": "256"},
        {"d_model": 0},
        {"vocab_size": True},
        {"n_layers": 2.5},
        {"mixer": "attention"},
        {"dropout": 1.5},
        {"epsilon": 0},
        {"precision_upgrade_threshold": "1.0e6"},
        {"learning_rate": float("nan")},
        {"feed_forward": "dense"},
        {"feed_forward": ["swiglu", "none"], "n_layers": 3},
        {"feed_forward": "experts"},
        {"num_experts": 4, "feed_forward": "swiglu"},
        {"num_experts": 4, "top_k": 5},
        {"value_dim": 48},
        {"free_heads": 17},
        {"free_heads": 16, "use_prime_bump": True},
        {"complex_heads": 17},
        {"use_semiseparable": False},
        {"parallel_feed_forward": True},
        {"mixer": "diagonal-bidirectional", "num_experts": 4},
        {"epsilon_schedule": 1.0},
        {"grad_blend": -0.1},
    ],
)
def test_a_value_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    """The error names the setting, its value, and what to do."""
    with pytest.raises(ConfigurationError) as found:
        MambaKillerConfig(**settings)

    assert found.value.key in str(found.value)
    assert found.value.key in settings or found.value.why
    assert found.value.advice


def test_heads_have_a_potential_where_something_is_added_to_it() -> None:
    """All heads are free, but half of them with prime bumps; a single head then has a potential."""
    assert MambaKillerConfig(d_model=128).free_heads == 8
    assert MambaKillerConfig(d_model=128, use_prime_bump=True).free_heads == 4
    assert MambaKillerConfig(d_model=16, use_prime_bump=True).free_heads == 0


def test_a_model_checks_its_configuration_again() -> None:
    """A setting that was changed afterwards is checked when a model is built."""
    config = MambaKillerConfig(vocab_size=8, d_model=32, n_layers=1)
    config.free_heads = 99

    with pytest.raises(ConfigurationError, match="free_heads"):
        ResNetBK(config)


def test_a_file_says_everything(tmp_path: Path) -> None:
    """`config.json` holds every setting, usual values too, and gives the same configuration again."""
    config = MambaKillerConfig(d_model=512, free_heads=8, num_experts=4, top_k=3, eos_token_id=5)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    read = AutoConfig.from_pretrained(tmp_path)

    assert written["model_type"] == "resnet_bk"
    assert written["state_bytes"] == config.state_bytes > 0
    assert (written["mixer"], written["free_heads"], written["intermediate_size"]) == ("green", 8, 1024)
    assert {name: getattr(read, name) for name in SPECIFIED} == {
        name: getattr(config, name) for name in SPECIFIED
    }
    assert (read.free_heads, read.top_k, read.eos_token_id, read.hidden_size) == (8, 3, 5, 512)


def test_a_file_with_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    """A setting that is none is an error in a file, too."""
    MambaKillerConfig().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n_layer": 3}))

    with pytest.raises(UnknownSettingError, match="n_layer"):
        MambaKillerConfig.from_pretrained(tmp_path)


def test_deprecated_settings_warn_and_work() -> None:
    """`use_hybrid_gradient` is `grad_blend`, `manual_seed` seeds, and warnings say what to write instead."""
    with pytest.warns(DeprecationWarning, match="grad_blend"):
        hybrid = MambaKillerConfig(mixer="diagonal", use_hybrid_gradient=True)
    with pytest.warns(DeprecationWarning, match="grad_blend"):
        exact = MambaKillerConfig(mixer="diagonal", use_hybrid_gradient=False)
    with torch.random.fork_rng():
        torch.manual_seed(17)
        expected = torch.rand(1)
        with pytest.warns(DeprecationWarning, match=r"torch\.manual_seed"):
            MambaKillerConfig(manual_seed=17)
        seeded = torch.rand(1)

    assert (hybrid.grad_blend, exact.grad_blend) == (0.5, 0.0)
    assert seeded == expected
    assert "use_hybrid_gradient" not in hybrid.to_dict()


def test_what_is_asked_for_and_not_done_is_said() -> None:
    """A setting that this version keeps without acting on it is no silence: building the model warns."""
    config = MambaKillerConfig(
        vocab_size=8, d_model=32, n_layers=1, use_act=True, low_rank=13, grad_blend=0.5
    )

    with pytest.warns(UnusedSettingWarning, match=r"low_rank=13 and use_act=True and grad_blend=0\.5"):
        ResNetBK(config)


def test_the_calls_of_earlier_versions_are_refused_with_the_new_ones() -> None:
    """Settings as arguments of the model, or a dictionary, are an error that says what to write."""
    with pytest.raises(ConfigurationError) as keywords:
        ResNetBK(vocab_size=8, d_model=32)
    with pytest.raises(ConfigurationError) as dictionary:
        ResNetBK({"vocab_size": 8})  # type: ignore[arg-type]

    assert "MambaKillerConfig(vocab_size=..., d_model=...)" in keywords.value.advice
    assert "modelplug migrate plan" in keywords.value.advice
    assert "MambaKillerConfig" in dictionary.value.advice


def run(script: str) -> str:
    """What a script prints in a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_importing_the_package_imports_no_engine() -> None:
    """`import resnet_bk` loads neither torch nor transformers."""
    script = "import sys, resnet_bk; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"

    assert run(script) == "set()"


@pytest.mark.parametrize(
    "imports",
    [
        "import resnet_bk; from transformers import AutoModelForCausalLM",
        "from transformers import AutoModelForCausalLM; import resnet_bk",
        "import resnet_bk.modeling; from transformers import AutoModelForCausalLM",
        "import resnet_bk.configuration; from transformers import AutoModelForCausalLM",
        "import resnet_bk; from transformers import LlamaModel, AutoModelForCausalLM",
        "import resnet_bk, transformers.modeling_layers; from transformers import AutoModelForCausalLM",
    ],
)
def test_transformers_knows_the_family_in_any_order(imports: str) -> None:
    """Whatever is imported first, the Auto classes find configuration and model."""
    script = (
        f"{imports}\nfrom transformers import AutoConfig\n"
        "config = AutoConfig.for_model('resnet_bk', vocab_size=8, d_model=32, n_layers=1)\n"
        "print(type(AutoModelForCausalLM.from_config(config)).__name__)\n"
    )

    assert run(script) == "ResNetBKForCausalLM"


def test_the_usual_settings_give_no_warning(make_model: Callable[..., Any]) -> None:
    """A model with the usual settings is built in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_model()
