"""From every shape to 1.0: each key has a fate, values keep their meaning, comments and spelling survive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from modelplug.documents import format_of, read_document
from modelplug_migrators.resnet_bk.configs.schema import SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME, SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.migration.plan import FilePlan

MIGRATED = [
    "f1_base.yaml", "f1_long.yaml", "f1_quantized.yaml", "f1_efficient.yaml", "f2_flat.yaml",
    "f3_phase7.yaml", "f4_phase8.yaml", "f5_nested.yaml", "f7_model.json", "f8_training_log.json",
    "f9_baseline.json", "f9_settings.toml",
]  # fmt: skip
MODEL = {"d_model": 64, "n_layers": 2, "n_seq": 128, "use_mourre": True}


def told(plan: FilePlan, severity: str) -> list[str]:
    """What was told with this severity."""
    return [str(finding) for finding in plan.findings if finding.severity.value == severity]


def leaves(value: Any) -> int:
    """How many keys an object holds that hold no others."""
    return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1


@pytest.mark.parametrize("name", MIGRATED)
def test_every_shape_becomes_a_valid_configuration(configs: Any, samples: Path, name: str) -> None:
    """Nothing is lost, the result has no error, and a second time nothing is to be done."""
    for sample in samples.iterdir():
        configs.put(sample.read_bytes(), sample.name)
    path = configs.folder / name
    before = read_document(path.read_bytes(), format_of(path) or "").value
    plan = configs.plan_path(path)
    assert sum(plan.account.counts().values()) == leaves(before)
    assert plan.account.counts()["dropped"] == 0
    path.write_bytes(configs.after(plan))
    assert configs.plan_path(path).status == "current"
    wrong = [
        str(issue) for issue in configs.check(path.read_bytes(), name) if issue.severity.value == "error"
    ]
    assert [issue for issue in wrong if "_base_" not in issue] == []


@pytest.mark.parametrize("name", [name for name in MIGRATED if name.endswith(".yaml")])
def test_comments_survive(configs: Any, samples: Path, name: str) -> None:
    """Every comment of the source is in the result, word for word, and there is no other."""
    before = (samples / name).read_bytes().decode()
    after = configs.after(configs.plan_path(samples / name)).decode()
    comments = re.compile(r"(?m)(?:^|\s)(#.*)$")
    assert sorted(comments.findall(after)) == sorted(comments.findall(before))


def test_values_that_stay_keep_their_spelling(configs: Any, samples: Path) -> None:
    """Numbers, quotation marks and lists are written as they were."""
    after = configs.after(configs.plan_path(samples / "f1_base.yaml")).decode()
    for text in (
        "learning_rate: 1.0e-3", 'schedule: "cosine"  # or constant', "epsilon_schedule: [1.0, 0.75, 0.5]",
        'save_dir: "./checkpoints"', "low_rank: null  # log(n_seq)", 'device: "cuda"',
    ):  # fmt: skip
        assert text in after


def test_the_base_configuration(configs: Any, samples: Path) -> None:
    """What the guide's own configuration becomes, setting by setting."""
    result = configs.value(configs.plan_path(samples / "f1_base.yaml"))
    training = result["training"]
    assert result["resnet_bk"] == "1.0"
    assert result["model"]["gradient_checkpointing"] is True
    assert result["model"]["epsilon_schedule"] == [1.0, 0.75, 0.5]
    assert (training["beta1"], training["beta2"], training["adam_epsilon"]) == (0.9, 0.999, 1e-8)
    assert (training["steps"], training["warmup"], training["schedule"]) == (50000, 0.01, "cosine")
    assert (training["gradient_clip"], training["precision"]) == (1.0, "auto")
    assert (training["evaluate_every"], training["evaluation_windows"]) == (1000, 800)
    assert (training["checkpoint_every"], training["keep_checkpoints"]) == (5000, 5)
    assert training["recovery"] == {"gradient_factor": 10.0}
    assert (training["seed"], training["device"], training["tensorboard"]) == (42, "cuda", True)
    assert training["sequence_length"] == 1024
    assert result["checkpoint"] == {"save_dir": "./checkpoints"}
    assert result["monitoring"] == {"project_name": "bk", "experiment_name": "base"}
    assert result["extras"]["monitoring"]["condition_number_threshold"] == 1e6


@pytest.mark.parametrize("section", ["", "training"])
def test_every_alias_leads_to_its_setting(configs: Any, section: str) -> None:
    """The table of names, one by one, at the top and in a section."""
    values = {"steps": 10, "evaluate_every": 3, "low_rank": 4, "potential_limit": 3.0}
    for setting in SETTINGS:
        kind: Any = SECTIONS[setting.place[0]]
        default = attrs.fields_dict(kind)[setting.place[1]].default
        value = values.get(setting.place[1], "some text" if default is None else default)
        shape = {name: size for name, size in MODEL.items() if name != setting.place[1]}
        for alias in () if setting.derived else setting.names[1:]:
            content = {**shape, section: {alias: value}} if section else {**shape, alias: value}
            result = configs.migrate(content, name="config.json")
            assert result[setting.place[0]][setting.place[1]] == value, alias
            assert alias == setting.place[1] or f"'{alias}'" not in str(result), alias


def test_no_name_means_two_settings() -> None:
    """The table is unambiguous."""
    for setting in SETTINGS:
        for name in setting.names:
            assert BY_NAME[name] is setting


def test_names_that_agree_become_one(configs: Any) -> None:
    """The same value under two names is one setting, and the account says which key says it."""
    plan = configs.plan({**MODEL, "max_seq_len": 128, "grad_clip": 1, "max_grad_norm": 1.0}, name="a.json")
    result = configs.value(plan)
    assert result["model"]["n_seq"] == 128
    assert result["training"]["gradient_clip"] == 1.0
    targets = {key.key: key.target for key in plan.account.keys}
    assert targets["max_seq_len"] == "model.n_seq"
    assert targets["grad_clip"] == "training.gradient_clip"
    assert "extras" not in result


def test_names_that_disagree_are_reported(configs: Any) -> None:
    """Both values and both names are named, with the line; the one that does not count is kept."""
    text = "d_model: 64\nn_layers: 2\nn_seq: 128\nmax_seq_length: 512\nuse_lap: true\n"
    plan = configs.plan(text + "lr: 0.1\nlearning_rate: 0.2\n")
    result = configs.value(plan)
    assert result["model"]["n_seq"] == 128
    assert result["training"]["learning_rate"] == 0.2
    assert result["extras"] == {"max_seq_length": 512, "lr": 0.1}
    length, rate = told(plan, "warning")
    assert length.startswith("line 4: max_seq_length = 512 and n_seq = 128")
    assert rate.startswith("line 6: lr = 0.1 and learning_rate = 0.2")


@pytest.mark.parametrize("written", ["1.0e6", "1e6", "1E6", "+1.0e6", "1.e6"])
def test_numbers_that_yaml_1_1_takes_for_text_are_repaired(configs: Any, written: str) -> None:
    """The value stays; the spelling is one that every program reads as a number; the line is reported."""
    plan = configs.plan(
        f"d_model: 64\nn_layers: 2\nuse_lap: true\nprecision_upgrade_threshold: {written} # big\n"
    )
    after = configs.after(plan).decode()
    assert "precision_upgrade_threshold: 1000000.0 # big" in after
    (warning,) = told(plan, "warning")
    assert warning.startswith(f"line 4: precision_upgrade_threshold = {written} is a number here")
    (key,) = [key for key in plan.account.keys if key.key == "precision_upgrade_threshold"]
    assert (key.fate.value, key.target) == ("mapped", "model.precision_upgrade_threshold")


@pytest.mark.parametrize("written", ["1.0e+6", "1.0e-4", "1000000.0", "0.001", "8", "'abc'"])
def test_other_numbers_keep_their_spelling(configs: Any, written: str) -> None:
    """What every program reads alike is not touched."""
    plan = configs.plan(f"d_model: 64\nn_layers: 2\nuse_lap: true\nmine: {written}\n")
    assert f"  mine: {written}\n" in configs.after(plan).decode()


def test_numbers_in_lists_are_repaired(configs: Any) -> None:
    """Items of a list are repaired one by one."""
    plan = configs.plan(
        "d_model: 64\nn_layers: 2\nuse_lap: true\nepsilon_schedule: [1e0, 0.5, 2.5e-1] # down\n"
    )
    assert "epsilon_schedule: [1.0, 0.5, 2.5e-1] # down" in configs.after(plan).decode()


@pytest.mark.parametrize("value", ["1e-4", "0.0001", " 1.0E-4 "])
def test_numbers_in_quotation_marks_become_numbers(configs: Any, value: str) -> None:
    """A setting that takes a number gets one, and a note says so."""
    plan = configs.plan({**MODEL, "learning_rate": value}, name="a.json")
    assert configs.value(plan)["training"]["learning_rate"] == 0.0001
    assert any("is the number 0.0001" in note for note in told(plan, "note"))


def test_words_of_yaml_1_1_become_truth_values(configs: Any) -> None:
    """`yes` and `off` were truth values for the programs that read such files."""
    result = configs.migrate(f"{'d_model: 64'}\nn_layers: 2\nuse_lap: yes\nuse_prime_bump: off\n")
    assert result["model"]["use_lap"] is True
    assert result["model"]["use_prime_bump"] is False


def test_a_batch_counts_whole_updates(configs: Any) -> None:
    """It is multiplied with the accumulation, and the steps are pointed out."""
    plan = configs.plan(
        {**MODEL, "batch_size": 2, "grad_accum_steps": 8, "max_steps": 100, "effective_batch_size": 16},
        name="a.json",
    )
    result = configs.value(plan)
    assert result["training"] == {
        "batch_size": 16, "accumulation": 8, "steps": 100, "sequence_length": 128,
    }  # fmt: skip
    assert any("updates" in todo for todo in told(plan, "todo"))
    assert "extras" not in result


def test_settings_of_1_0_in_an_older_file_keep_their_meaning(configs: Any) -> None:
    """A batch beside `accumulation` counts whole updates already."""
    result = configs.migrate({**MODEL, "batch_size": 16, "accumulation": 8}, name="a.json")
    assert result["training"]["batch_size"] == 16


def test_a_batch_on_top_of_a_base(configs: Any) -> None:
    """What the base says of accumulation counts, whether the base is of 0.9 or of 1.0 by now."""
    configs.put(
        "d_model: 64\nn_layers: 2\nuse_lap: true\nbatch_size: 3\ngradient_accumulation_steps: 4\n", "b.yaml"
    )
    older = configs.migrate("_base_: b.yaml\ntraining:\n  batch_size: 2\n", name="c.yaml")
    assert older["training"]["batch_size"] == 8
    configs.put("resnet_bk: '1.0'\ntraining:\n  batch_size: 12\n  accumulation: 4\n", "b.yaml")
    newer = configs.migrate("_base_: b.yaml\ntraining:\n  grad_accum_steps: 2\n", name="c.yaml")
    assert newer["training"] == {"batch_size": 6, "accumulation": 2}


def test_a_base_in_a_base(configs: Any) -> None:
    """Bases lead on from folder to folder; a circle of them comes to an end."""
    configs.put("_base_: deep/c.yaml\nmodel:\n  d_model: 64\n", "sub/b.yaml")
    configs.put("training:\n  max_steps: 200\n", "sub/deep/c.yaml")
    plan = configs.plan("_base_: sub/b.yaml\ntraining:\n  warmup_steps: 20\n", name="a.yaml")
    assert configs.value(plan)["training"] == {"warmup": 0.1}
    configs.put("_base_: ../a.yaml\n", "sub/b.yaml")
    assert configs.plan_path(configs.folder / "a.yaml").status == "migrate"


def test_a_base_that_is_missing_is_a_thing_to_do(configs: Any) -> None:
    """The file is migrated, and the reader told that something was not known."""
    plan = configs.plan("_base_: nowhere.yaml\ntraining:\n  learning_rate: 0.1\n")
    assert configs.value(plan) == {
        "resnet_bk": "1.0", "_base_": "nowhere.yaml", "training": {"learning_rate": 0.1},
    }  # fmt: skip
    assert "nowhere.yaml" in told(plan, "todo")[0]
    several = configs.plan("_base_: [a.yaml, b.yaml]\nmodel:\n  d_model: 64\n  n_layers: 2\n  n_seq: 4\n")
    assert "a.yaml" in told(several, "todo")[0]


def test_shares_of_the_steps_and_of_the_rate(configs: Any) -> None:
    """Warm-up and last rate are shares; where they can't be worked out they are kept, and pointed out."""
    known = configs.migrate(
        {**MODEL, "warmup_steps": 2000, "max_steps": 150000, "min_lr": 1e-6, "lr": 1e-4}, name="a.json"
    )["training"]
    assert round(known["warmup"] * known["steps"]) == 2000
    assert known["final_learning_rate"] == 0.01
    plan = configs.plan({**MODEL, "warmup_steps": 2000, "epochs": 3, "min_lr": 1e-6}, name="a.json")
    assert configs.value(plan)["extras"] == {"warmup_steps": 2000, "min_lr": 1e-6}
    assert "warmup" in told(plan, "todo")[0]
    more = configs.plan({**MODEL, "warmup_steps": 20, "max_steps": 10}, name="a.json")
    assert "more than the 10 steps" in told(more, "todo")[0]


@pytest.mark.parametrize(
    ("given", "precision"),
    [
        ({"mixed_precision": True}, "auto"),
        ({"use_mixed_precision": False}, "float32"),
        ({"fp16": True, "mixed_precision": True}, "auto"),
        ({"use_mixed_precision": True, "mixed_precision_dtype": "bfloat16"}, "bfloat16"),
        ({"mixed_precision_dtype": "fp16"}, "float16"),
        ({"mixed_precision": "bf16"}, "bfloat16"),
        ({"mixed_precision": "no"}, "float32"),
    ],
)
def test_precision_is_one_word(configs: Any, given: dict[str, Any], precision: str) -> None:
    """Flags and types become one of the four words."""
    result = configs.migrate({**MODEL, **given}, name="a.json")
    assert result["training"]["precision"] == precision
    assert "extras" not in result


def test_a_type_without_mixed_precision_is_kept_apart(configs: Any) -> None:
    """Off is off, whatever type it would have had."""
    result = configs.migrate(
        {**MODEL, "mixed_precision": False, "mixed_precision_dtype": "bf16"}, name="a.json"
    )
    assert result["training"]["precision"] == "float32"
    assert result["extras"] == {"mixed_precision_dtype": "bf16"}


@pytest.mark.parametrize(("flag", "blend"), [(True, 0.5), (False, 0.0)])
def test_the_hybrid_gradient_is_a_blend(configs: Any, flag: bool, blend: float) -> None:
    """The deprecated flag becomes a number, and a note says that it is deprecated."""
    plan = configs.plan({**MODEL, "use_hybrid_gradient": flag}, name="a.json")
    assert configs.value(plan)["model"]["grad_blend"] == blend
    assert any("deprecated" in note for note in told(plan, "note"))


def test_a_blend_counts_more_than_the_hybrid_gradient(configs: Any) -> None:
    """Where both are given and disagree, the newer name counts, and that is reported."""
    plan = configs.plan({**MODEL, "use_hybrid_gradient": True, "grad_blend": 0.25}, name="a.json")
    assert configs.value(plan)["model"]["grad_blend"] == 0.25
    assert configs.value(plan)["extras"] == {"use_hybrid_gradient": True}
    assert any("disagree" in warning for warning in told(plan, "warning"))


def test_manual_seed_is_the_seed_of_training(configs: Any) -> None:
    """The deprecated name becomes `seed`, with a note."""
    plan = configs.plan({**MODEL, "manual_seed": 7}, name="a.json")
    assert configs.value(plan)["training"]["seed"] == 7
    assert any("torch.manual_seed()" in note for note in told(plan, "note"))


def test_the_dense_mode_is_gone(configs: Any) -> None:
    """Asking for it is kept apart and warned of; not asking for it stays."""
    plan = configs.plan({**MODEL, "use_semiseparable": False}, name="a.json")
    assert configs.value(plan)["extras"] == {"use_semiseparable": False}
    assert any("dense mode" in warning for warning in told(plan, "warning"))
    assert (
        configs.migrate({**MODEL, "use_semiseparable": True}, name="a.json")["model"]["use_semiseparable"]
        is True
    )


def test_experts_are_chosen_as_before(configs: Any) -> None:
    """What was the default and is another one now is written out, so that the model can be built."""
    result = configs.migrate({**MODEL, "num_experts": 1}, name="a.json")["model"]
    assert (result["top_k"], result["use_scattering_router"]) == (1, False)
    plan = configs.plan({**MODEL, "num_experts": 2, "top_k": 4}, name="a.json")
    assert plan.status == "refused"
    assert "more than the 2 experts" in plan.error["why"]


@pytest.mark.parametrize(("width", "heads"), [(64, None), (100, 25), (97, 2), (8, 16)])
def test_heads_fit_the_width(configs: Any, width: int, heads: int | None) -> None:
    """A width that the usual heads do not divide gets others."""
    result = configs.migrate({**MODEL, "d_model": width}, name="a.json")["model"]
    assert result.get("value_dim") == heads


def test_an_unknown_key_is_kept_and_reported(configs: Any) -> None:
    """With its line, its value, and the nearest name."""
    plan = configs.plan("d_model: 64\nn_layers: 2\nuse_lap: true\ntraining:\n  leaning_rate: 0.1\nqqzz: 1\n")
    assert configs.value(plan)["extras"] == {"training": {"leaning_rate": 0.1}, "qqzz": 1}
    first, second = [finding for finding in plan.findings if finding.severity.value == "warning"]
    assert (first.line, first.nearest) == (5, "learning_rate")
    assert "did you mean learning_rate?" in first.message
    assert (second.line, second.nearest) == (6, "")


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [("d_model", "wide", "whole number"), ("dropout", 1.5, "at most 1"), ("n_layers", 0, "at least 1")],
)
def test_a_model_that_makes_no_sense_is_refused(configs: Any, key: str, value: Any, part: str) -> None:
    """A guess would be another model; the file stays as it is, and the line is named."""
    plan = configs.plan({**MODEL, key: value}, name="a.json")
    assert plan.status == "refused"
    assert plan.changes == ()
    assert part in plan.error["why"]
    assert "line" in plan.error["why"]


def test_a_value_that_training_can_not_take_is_kept_apart(configs: Any) -> None:
    """The rest is migrated."""
    plan = configs.plan({**MODEL, "weight_decay": "auto", "epochs": -1, "log_interval": None}, name="a.json")
    result = configs.value(plan)
    assert result["extras"] == {"weight_decay": "auto", "epochs": -1, "log_interval": None}
    assert len(told(plan, "warning")) == 2


def test_no_clipping_is_null(configs: Any) -> None:
    """0 would be refused, and meant that nothing is clipped."""
    assert configs.migrate({**MODEL, "grad_clip": 0.0}, name="a.json")["training"]["gradient_clip"] is None


def test_an_unknown_schedule_is_kept_apart(configs: Any) -> None:
    """The nearest one is named, and not chosen."""
    plan = configs.plan({**MODEL, "lr_scheduler": "linear"}, name="a.json")
    assert configs.value(plan)["extras"] == {"lr_scheduler": "linear"}
    assert "cosine" in told(plan, "warning")[0]


def test_a_quantization_tree_becomes_bits(configs: Any, samples: Path) -> None:
    """The enabled mode counts; the rest is kept in its shape."""
    result = configs.value(configs.plan_path(samples / "f1_quantized.yaml"))
    assert result["quantization"] == {"experts": 4, "bk_core": 8, "output": 16, "bits": 8}
    assert result["extras"]["quantization"] == {
        "ptq": {"enabled": False, "bit_width": 4},
        "qat": {"enabled": True, "mixed_precision": {"enabled": True}},
        "group_size": 128,
    }


def test_flags_of_quantization_become_bits(configs: Any) -> None:
    """Only where they are switched on."""
    on = configs.migrate({**MODEL, "enable_quantization": True, "quantization_bits": 4}, name="a.json")
    assert on["quantization"] == {"bits": 4}
    assert "extras" not in on
    off = configs.migrate({**MODEL, "use_quantization": False, "quantization_bits": 4}, name="a.json")
    assert "quantization" not in off


def test_a_configuration_in_a_log_is_migrated_where_it_is(configs: Any, samples: Path) -> None:
    """The log around it keeps every byte."""
    before = (samples / "f8_training_log.json").read_text()
    plan = configs.plan_path(samples / "f8_training_log.json")
    after, result = configs.after(plan).decode(), configs.value(plan)
    assert result["config"]["model"] == {"d_model": 128, "n_layers": 4, "n_seq": 256}
    assert result["config"]["training"]["batch_size"] == 16
    assert result["extras"]["config"] == {"use_bk_hyperbolic": True}
    for line in before.splitlines():
        if '"step"' in line or '"start"' in line:
            assert line in after


def test_sections_that_are_none_are_kept(configs: Any) -> None:
    """Whatever stands where a section belongs is set aside; an empty one is nothing."""
    plan = configs.plan("d_model: 64\nn_layers: 2\nuse_lap: true\nbatch_size: 4\ntraining: fast\nmodel:\n")
    result = configs.value(plan)
    assert result["training"]["batch_size"] == 4
    assert result["extras"] == {"training": "fast"}
    assert result["model"]["d_model"] == 64


def test_lists_of_keys_with_the_same_reason_are_one_warning(configs: Any) -> None:
    """What is asked for and missed is told once for each reason; what is switched off is not."""
    plan = configs.plan(
        {**MODEL, "use_symplectic": True, "use_non_hermitian": True, "use_bitnet": False}, name="a.json"
    )
    (warning,) = told(plan, "warning")
    assert "use_symplectic, use_non_hermitian ask for" in warning


def test_names_without_a_place_that_disagree_are_reported(configs: Any) -> None:
    """Both are kept as they were, and the reader knows that one of them never counted."""
    plan = configs.plan(
        {**MODEL, "num_workers": 2, "dataloader_num_workers": 4, "wandb": True}, name="a.json"
    )
    (warning,) = told(plan, "warning")
    assert "dataloader_num_workers = 4 and num_workers = 2" in warning
    assert configs.value(plan)["extras"] == {"num_workers": 2, "dataloader_num_workers": 4, "wandb": True}
