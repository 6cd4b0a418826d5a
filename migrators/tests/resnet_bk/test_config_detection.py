"""Files are told by their content: the nine shapes of configurations, and what stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelplug.migration.candidates import Candidate
from modelplug_migrators.resnet_bk.configs import foreign
from modelplug_migrators.resnet_bk.configs.detection import recognise
from modelplug_migrators.resnet_bk.family import FAMILY

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = {
    "f1_base.yaml": "0.9",
    "f1_long.yaml": "0.6",
    "f1_quantized.yaml": "0.7",
    "f1_efficient.yaml": "0.8",
    "f2_flat.yaml": "0.9",
    "f3_phase7.yaml": "0.9",
    "f4_phase8.yaml": "0.9",
    "f5_nested.yaml": "0.9",
    "f7_model.json": "0.9",
    "f8_training_log.json": "0.9",
    "f9_baseline.json": "0.4",
    "f9_settings.toml": "0.9",
}
FOREIGN = {"f6_datasets.yaml": "datasets", "f6_goal.yaml": "goal", "results.json": "results"}


@pytest.mark.parametrize("name", VERSIONS)
def test_every_shape_is_recognised(samples: Path, name: str) -> None:
    """Each shape is told, with its version and what was seen of it."""
    (found,) = FAMILY.detect(Candidate(samples / name))
    assert str(found.version) == VERSIONS[name]
    assert found.kind.value == "config"
    assert found.evidence


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_configuration_is_refused_with_what_it_is(configs: Any, samples: Path, name: str) -> None:
    """A file named by the user is refused in words; below a folder it keeps nothing from being migrated."""
    plan = configs.plan_path(samples / name)
    assert plan.status == "refused"
    assert FOREIGN[name] in plan.error["what"]
    assert plan.changes == ()
    configs.put((samples / name).read_bytes(), name)
    assert configs.plan_all(configs.folder).files == ()


def test_samples_of_every_shape_are_tried(samples: Path) -> None:
    """No sample is forgotten here."""
    assert {path.name for path in samples.iterdir()} == {*VERSIONS, *FOREIGN}


@pytest.mark.parametrize(
    "values",
    [
        {"d_model": 768, "n_layers": 12, "n_heads": 12, "max_seq_len": 2048, "vocab_size": 50368},
        {"d_model": 2560, "n_layer": 64, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": True},
        {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "vocab_size": 50257},
        {"model_type": "mamba", "d_model": 768, "n_layer": 24, "k_max": 3, "epsilon_schedule": []},
        {"learning_rate": 0.1, "batch_size": 4, "epochs": 3},
        {"d_model": 512, "n_layers": 6},
        {"version": 1, "backends": {}},
        {"epochs": [1, 2], "steps": [1, 2], "loss": [3.0, 2.0]},
        {},
    ],
    ids=lambda values: ", ".join(list(values)[:3]) or "nothing",
)
def test_configurations_of_other_programs_are_left_alone(values: dict[str, Any]) -> None:
    """A width and layers make no ResNet-BK; a training needs a model that is one."""
    assert recognise(values) is None


@pytest.mark.parametrize(
    "more",
    [
        {"model_type": "resnet_bk", "architectures": ["ResNetBK"], "transformers_version": "4.57.0"},
        {"use_bitnet": True, "use_birman_schwinger": True, "n_heads": 4},
    ],
)
def test_names_of_others_beside_our_own_are_no_matter(more: dict[str, Any]) -> None:
    """Whoever says the kind of model, or several of our names, has a ResNet-BK."""
    assert recognise({"d_model": 256, "n_layers": 8, **more}) is not None
    assert recognise({"d_model": 256, "n_layers": 8, "vocab_size": 9, "n_seq": 4, "n_heads": 4}) is None


def test_a_configuration_says_its_version(configs: Any) -> None:
    """The mark counts more than any name; nothing is to be done for the current version."""
    values = {"resnet_bk": "1.0", "model": {"d_model": 64, "use_mourre": True}}
    assert configs.plan(values, name="a.json").status == "current"
    marked = recognise({"resnet_bk": "0.5", "d_model": 64, "n_seq": 128, "use_act": True})
    assert marked is not None
    assert str(marked.version) == "0.5"


@pytest.mark.parametrize("mark", ["1.0", 1.0, "1.0.3", 1])
def test_the_mark_may_be_written_in_several_ways(mark: object) -> None:
    """YAML reads 1.0 without quotation marks as a number."""
    found = recognise({"resnet_bk": mark, "model": {"d_model": 64}})
    assert found is not None
    assert str(found.version) == "1.0"


@pytest.mark.parametrize("mark", [None, "new", [1], True, {"version": 1}, float("nan")])
def test_a_mark_that_is_no_version_is_none(mark: object) -> None:
    """Then the file is not recognised, and nothing is done to it."""
    assert recognise({"resnet_bk": mark, "model": {"d_model": 64}}) is None


def test_a_later_version_is_refused(configs: Any) -> None:
    """What a later program wrote is not touched."""
    plan = configs.plan({"resnet_bk": "2.0", "model": {"d_model": 64}}, name="a.json")
    assert plan.status == "refused"
    assert "newer" in plan.error["what"]


def test_what_a_model_of_1_0_writes_is_current(configs: Any) -> None:
    """`config.json` of a saved model is a configuration of 1.0; that of 0.9 had no mixer."""
    saved = {"model_type": "resnet_bk", "mixer": "green", "d_model": 64, "n_layers": 2, "state_bytes": 12}
    assert configs.plan(saved, name="config.json").status == "current"
    older = {"model_type": "resnet_bk", "d_model": 64, "n_layers": 2, "use_prime_bump": True}
    assert configs.plan(older, name="config.json").status == "migrate"


def test_a_list_of_datasets_in_a_model_is_no_list_of_datasets(configs: Any, samples: Path) -> None:
    """A configuration may list its datasets itself."""
    assert foreign(Candidate(samples / "f3_phase7.yaml")) == ""
    assert configs.plan_path(samples / "f3_phase7.yaml").status == "migrate"


def test_a_folder_and_other_files_are_nothing(tmp_path: Path) -> None:
    """Folders, and files of other kinds, are not looked into."""
    (tmp_path / "model.py").write_text("d_model = 64\nuse_mourre = True\n")
    assert list(FAMILY.detect(Candidate(tmp_path / "model.py"))) == []
    assert list(FAMILY.detect(Candidate(tmp_path))) == []
    assert foreign(Candidate(tmp_path)) == ""
