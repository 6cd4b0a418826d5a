"""Configurations that were migrated are taken by ResNet-BK itself, and the two agree on what is allowed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import attrs
import pytest

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
