"""Each step by itself: what it changes, the way back, and what it says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from modelplug.migration.explain import as_markdown, explained_steps
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.steps import Kind
from modelplug_migrators.resnet_bk.family import FAMILY, STEPS
from modelplug_migrators.resnet_bk.versions import V0_4, V0_9, V1_0, VERSIONS

GRAPH = MigrationGraph([FAMILY], STEPS)
CONFIG_STEPS = [step for step in STEPS if step.kind is Kind.CONFIG]
MODEL = {"d_model": 64, "n_layers": 2}


@pytest.mark.parametrize("version", [entry.version for entry in VERSIONS if entry.version != V1_0], ids=str)
def test_every_version_leads_to_1_0_and_back(version: Any) -> None:
    """There is a way from each version to the current one, and from there to each."""
    there = GRAPH.path(FAMILY.name, Kind.CONFIG, version, V1_0)
    back = GRAPH.path(FAMILY.name, Kind.CONFIG, V1_0, version)
    assert [step.source for step in there] == [step.target for step in reversed(back)]


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        ("0.4", "0.5", {"semiseparable_rank": 4}, {"low_rank": 4}),
        ("0.4", "0.5", {"cpu_offload": True}, {"use_cpu_offload": True}),
        ("0.5", "0.6", {"max_seq_len": 128}, {"n_seq": 128}),
        ("0.5", "0.6", {"seq_length": 128}, {"n_seq": 128}),
        (
            "0.6", "0.7",
            {"use_quantization": True, "quantization_bits": 8},
            {"quantization": {"bits": 8}},
        ),
        ("0.7", "0.8", {"adaptive_computation": True}, {"use_act": True}),
        ("0.7", "0.8", {"early_exit_threshold": 0.3}, {"act_halt_threshold": 0.3}),
        ("0.8", "0.9", {"prime_bump_init": True}, {"use_prime_bump": True}),
        ("0.8", "0.9", {"dropout_p": 0.2}, {"dropout": 0.2}),
    ],
)  # fmt: skip
def test_each_step_gives_the_names_of_its_version(
    configs: Any, source: str, target: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A step on its own renames what its version has one name for, where it stands, and nothing else."""
    result = configs.migrate({**MODEL, **before}, name="a.json", source=source, target=target)
    result.pop("resnet_bk", None)
    assert result == {**MODEL, **after}


@pytest.mark.parametrize("target", ["0.5", "0.6", "0.7", "0.8", "0.9"])
def test_a_version_on_the_way_is_recognised(configs: Any, target: str) -> None:
    """A file that does not show its version says it, so that the way on is found."""
    plan = configs.plan({**MODEL, "n_seq": 128, "batch_size": 4}, name="a.json", target=target)
    configs.put(configs.after(plan), "a.json")
    assert configs.plan_path(plan.path).source == target
    assert configs.value(configs.plan_path(plan.path))["training"]["batch_size"] == 4


@pytest.mark.parametrize(
    ("target", "content", "part"),
    [
        ("0.8", {"model": {**MODEL, "mixer": "green"}}, "no such mixer"),
        ("0.9", {"model": MODEL, "training": {"batch_size": 5, "accumulation": 2}}, "equal parts"),
        ("0.7", {"model": {**MODEL, "use_act": True}}, "0.7 has nothing of the kind"),
        ("0.6", {"model": MODEL, "quantization": {"bits": 8}}, "0.6 has nothing of the kind"),
        ("0.5", {"model": {**MODEL, "n_seq": 4096}}, "0.5 takes 2048 at most"),
    ],
)
def test_what_an_older_version_can_not_say_is_refused(
    configs: Any, target: str, content: dict[str, Any], part: str
) -> None:
    """The way back ends where the meaning would change; the file stays as it is."""
    plan = configs.plan({"resnet_bk": "1.0", **content}, name="a.json", target=target)
    assert plan.status == "refused"
    assert part in plan.error["why"]


def test_the_way_back_gives_values_their_older_meaning(configs: Any) -> None:
    """Batches, shares and words become what 0.9 had."""
    current = {
        "resnet_bk": "1.0",
        "model": {**MODEL, "n_seq": 128, "value_dim": 16},
        "training": {
            "batch_size": 16, "accumulation": 4, "steps": 1000, "warmup": 0.05, "learning_rate": 1e-3,
            "final_learning_rate": 0.1, "precision": "bfloat16", "gradient_clip": None, "evaluate_every": 10,
            "evaluation_windows": 40, "sequence_length": 128, "recovery": {"gradient_factor": 5.0}, "seed": 3,
        },
        "extras": {"training": {"log_grad_norm": True}, "num_gpus": 1},
    }  # fmt: skip
    result = configs.migrate(current, name="a.json", target="0.9")
    assert result["training"] == {
        "batch_size": 4, "gradient_accumulation_steps": 4, "max_steps": 1000, "warmup_steps": 50,
        "learning_rate": 1e-3, "min_lr": 1e-4, "mixed_precision": True, "mixed_precision_dtype": "bfloat16",
        "max_grad_norm": 0.0, "eval_interval": 10, "eval_steps": 10, "log_grad_norm": True,
    }  # fmt: skip
    assert result["model"] == {**MODEL, "n_seq": 128}
    assert result["monitoring"] == {"gradient_explosion_threshold": 5.0}
    assert (result["seed"], result["num_gpus"]) == (3, 1)
    assert result["extras"] == {"model": {"value_dim": 16}}
    configs.put(configs.after(configs.plan(current, name="a.json", target="0.9")), "a.json")
    again = configs.value(configs.plan_path(configs.folder / "a.json"))
    assert again["model"]["value_dim"] == 16
    assert again["training"] == {**current["training"], "warmup": 0.05}


def test_dense_matrices_are_deprecated_from_0_5_on(configs: Any) -> None:
    """The step to 0.5 warns, and leaves the setting where it is."""
    plan = configs.plan({**MODEL, "use_semiseparable": False}, name="a.json", source="0.4", target="0.5")
    assert configs.value(plan)["use_semiseparable"] is False
    assert any("go with 1.0" in finding.message for finding in plan.findings)


@pytest.mark.parametrize("step", CONFIG_STEPS, ids=lambda step: step.__name__)
def test_each_step_explains_itself(step: Any) -> None:
    """The first line says what changes; the rest says how, and says something of the way back."""
    first, _, rest = step.explanation().partition("\n\n")
    assert "\n" not in first
    assert len(first) < 100
    assert "way back" in rest
    assert step.breaking
    for sentence in (*step.breaking, *step.adds, *step.deprecates):
        assert sentence.endswith(".")


def test_the_explanation_names_what_the_guide_names() -> None:
    """From 0.5 to 1.0, every item of the guide that bears on configurations is there."""
    text = as_markdown(FAMILY, explained_steps(GRAPH, FAMILY.name, "0.5", "1.0", Kind.CONFIG))
    for name in (
        "n_seq", "1,000,000", "quantization.experts", "use_act", "act_halt_threshold", "use_prime_bump",
        "MambaKillerConfig", "use_hybrid_gradient", "grad_blend", "manual_seed", "dense mode",
    ):  # fmt: skip
        assert name in text
    assert "semiseparable_rank" not in text
    assert max(map(len, text.splitlines())) <= 112


def test_the_modules_of_the_versions_name_every_item_of_the_guide() -> None:
    """Each version module says what breaks, what is new and what will go."""
    from modelplug_migrators.resnet_bk import v0_5, v0_6, v0_7, v0_8, v0_9, v1_0

    items = {
        v0_5: ("use_semiseparable", "low_rank", "MemoryOptimizer", "ZeRO", "dense mode"),
        v0_6: ("n_seq", "StreamingEvaluator", "Mamba", "FLOPs", "spikes"),
        v0_7: ("QuantizedBirmanSchwinger", "experts", "bk_core", "INT4", "groups"),
        v0_8: ("use_act", "FLOPsCounter", "sparsity", "several scales", "scattering phase"),
        v0_9: ("AutoModel", "export_to_onnx", "Hub", "theory", "Koopman"),
        v1_0: (
            "MambaKillerConfig", "CheckpointManager", "`z`", "ScatteringRouter", "factorize()", "TensorRT",
            "use_hybrid_gradient", "manual_seed", "2.0",
        ),
    }  # fmt: skip
    for module, names in items.items():
        text = re.sub(r"\s+", " ", module.__doc__ or "")
        assert [name for name in names if name not in text] == []
        for part in ("What breaks:", "What is new:", "What will go:"):
            assert part in text


def test_the_oldest_version_is_the_guides() -> None:
    """The guide begins with the step from 0.4 to 0.5."""
    assert FAMILY.oldest == V0_4
    assert FAMILY.current_version(Kind.CONFIG) == V1_0
    assert V0_9 in [step.source for step in CONFIG_STEPS]


def test_the_family_is_light() -> None:
    """Telling what a file is, and planning a configuration, needs neither tensors nor a parser."""
    code = (
        "import sys\n"
        "from modelplug_migrators.resnet_bk import family\n"
        "from modelplug_migrators.resnet_bk.configs import upgrade_values\n"
        "assert upgrade_values({'d_model': 64, 'n_layers': 2, 'lr': 0.1}).value['training']\n"
        "heavy = {'torch', 'numpy', 'transformers', 'safetensors', 'libcst', 'resnet_bk'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
