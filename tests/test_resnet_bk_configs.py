"""Configurations that were migrated are taken by ResNet-BK itself, and the two agree on what is allowed."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.cli.main import main as modelplug
from modelplug.config.structure import find_problems
from modelplug.documents import format_of, read_document
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths

pytest.importorskip("resnet_bk")
schema: Any = pytest.importorskip("modelplug_migrators.resnet_bk.configs.schema")

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "migrators" / "tests" / "resnet_bk" / "samples"
REAL = ROOT.parent / "shared" / "data" / "resnet-bk-configs"
FILES = [*sorted(SAMPLES.iterdir()), *(sorted(REAL.iterdir()) if REAL.is_dir() else ())]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**40, 0.0, 0.5, 1.0, 1.5, -0.1, 1e-13, 1e30, float("inf"),
    float("nan"), "", "green", "rms", "none", "cosine", "auto", "8", [], [1], [0.5, 1], ["none"],
    ["swiglu", "x"], {}, (1, 2), [-1],
]  # fmt: skip


def sections(path: Path, folder: Path) -> dict[str, Any] | None:
    """The sections that a configuration has after its migration; None if it is none."""
    from modelplug_migrators.resnet_bk.family import FAMILY, STEPS

    paths = Paths(config=folder, data=folder, cache=folder, logs=folder)
    (plan,) = Planner(MigrationGraph([FAMILY], STEPS), paths).plan([path]).files
    if plan.status != "migrate":
        return None
    (change,) = plan.changes
    kind = format_of(path)
    assert kind is not None
    assert change.after is not None
    values: dict[str, Any] = read_document(change.after, kind).value
    return next(
        (values[name] for name in ("config", "model_config") if isinstance(values.get(name), dict)), values
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_result_is_what_resnet_bk_takes(path: Path, tmp_path: Path) -> None:
    """The section `model` makes a configuration of a model, and `training` one of a training."""
    from resnet_bk import MambaKillerConfig
    from resnet_bk.training import TrainingConfig

    found = sections(path, tmp_path)
    if found is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = MambaKillerConfig(**found.get("model", {}))
        training = TrainingConfig.from_dict(found.get("training", {}))
    assert {name: getattr(config, name) for name in found.get("model", {})} == found.get("model", {})
    for name, value in found.get("training", {}).items():
        assert name == "recovery" or getattr(training, name) == value


def test_the_sections_are_those_of_resnet_bk() -> None:
    """Every setting of the model and of the training is there, with the same default, and no other."""
    from resnet_bk import MambaKillerConfig
    from resnet_bk.configuration.rules import CHECKS
    from resnet_bk.training import TrainingConfig

    names = {field.name for field in attrs.fields(schema.ModelSection)}
    assert names == set(CHECKS)
    classes = {name: getattr(MambaKillerConfig, name, None) for name in names - {"epsilon_schedule"}}
    assert {name: getattr(schema.ModelSection(), name) for name in classes} == classes
    assert attrs.asdict(schema.TrainingSection()) == TrainingConfig().to_dict()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_both_allow_the_same_settings_of_a_model(value: Any) -> None:
    """What the schema takes for a setting is what the model takes, and what it refuses is refused."""
    from resnet_bk.configuration.rules import CHECKS

    for name, check in CHECKS.items():
        allowed = not find_problems({name: value}, schema.ModelSection)
        # A flag for the model's check; that it can't be false is said when settings are compared.
        if (name, value) != ("use_semiseparable", False):
            assert allowed == check.holds(value), name


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_both_allow_the_same_settings_of_a_training(value: Any) -> None:
    """The same for the training, and for its recovery."""
    from resnet_bk.training import TrainingConfig
    from resnet_bk.training.config import RecoverySettings
    from resnet_bk.training.errors import TrainingConfigError

    pairs = [(TrainingConfig, schema.TrainingSection), (RecoverySettings, schema.RecoverySection)]
    for theirs, ours in pairs:
        for field in attrs.fields(ours):
            if field.name == "recovery":
                continue
            allowed = not find_problems({field.name: value}, ours)
            try:
                theirs(**{field.name: value})
            except TrainingConfigError:
                assert not allowed, field.name
            else:
                assert allowed, field.name


def test_the_smaller_sections_are_those_of_resnet_bk() -> None:
    """The same names, types and defaults."""
    from resnet_bk.training.config_file import sections as theirs

    for name in ("DataSection", "CheckpointSection", "MonitoringSection", "QuantizationSection"):
        pair = [attrs.fields(attrs.resolve_types(getattr(module, name))) for module in (schema, theirs)]
        ours, others = ([(field.name, field.type, field.default) for field in fields] for fields in pair)
        assert ours == others
    assert list(schema.SECTIONS) == list(theirs.SECTIONS)


@pytest.fixture(scope="module")
def libraries() -> None:
    """Import once what leaves traces in the process."""
    import torch
    import transformers

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()
    transformers.utils.logging.disable_progress_bar()
    assert transformers.LlamaForCausalLM


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a program within this process, and gives its status and what it wrote."""
    monkeypatch.setenv("MODELPLUG_PLUGINS", "migrators")
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")

    def run(main: Callable[[list[str]], object], *arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run


@pytest.mark.usefixtures("libraries")
@pytest.mark.filterwarnings("ignore:The configuration asks for")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_was_migrated_trains(path: Path, tmp_path: Path, program: Callable[..., Any]) -> None:
    """`resnet-bk train --config` takes every file that `modelplug migrate apply` wrote, made smaller."""
    from resnet_bk.cli.main import main as resnet_bk

    folder, text = tmp_path / "configs", tmp_path / "text.txt"
    folder.mkdir()
    for other in path.parent.iterdir():
        shutil.copyfile(other, folder / other.name)
    text.write_text("".join(f"the cat sat on mat {number}.\n" for number in range(120)))
    status, _, error = program(modelplug, "migrate", "apply", folder, "--yes")
    assert status == 0, error
    small = [
        *(
            f"--set={name}"
            for name in ("d_model=32", "value_dim=16", "n_layers=1", "n_seq=8", "vocab_size=300")
        )
    ]
    short = ["--steps", 2, "--sequence-length", 8, "--batch-size", 2, "--accumulation", 1, "--device", "cpu"]
    options = ["-o", tmp_path / "run", *small, *short, "--no-tensorboard", "--json"]
    status, out, error = program(resnet_bk, "train", text, "--config", folder / path.name, *options)
    if (folder / path.name).read_bytes() == path.read_bytes():
        assert (status, "no configuration of version 1.0" in error) == (2, True)
        return
    assert status == 0, error
    assert json.loads(out)["step"] == 2
    said = sections(path, tmp_path)
    assert said is not None
    written = json.loads((tmp_path / "run" / "training.json").read_text())
    typed = {"steps", "sequence_length", "batch_size", "accumulation", "device", "tensorboard", "recovery"}
    assert {name: written[name] for name in said.get("training", {}).keys() - typed} == {
        name: value for name, value in said.get("training", {}).items() if name not in typed
    }
