"""Every layout there was: each is recognised as itself, and becomes exactly what it should."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.config import ConfigManager, ConfigValidator
from modelplug_migrators.gguf_loader import layouts

if TYPE_CHECKING:
    from pathlib import Path

# Sample -> the name it has on disk, the layout it is of, and how sure that is.
SAMPLES = {
    "s01_flat": ("config.json", layouts.FLAT, "certain"),
    "s02_multi_backend": ("config.json", layouts.MULTI_BACKEND, "certain"),
    "s03_backend_config": ("backend_config.json", layouts.MULTI_BACKEND, "certain"),
    "s04_backend_set_1_0": ("backend_config.json", layouts.BACKEND_SET_1_0, "certain"),
    "s04_backend_set_1_1": ("backend_config.json", layouts.BACKEND_SET_1_1, "certain"),
    "s05_application": ("config.json", layouts.APPLICATION, "certain"),
    "s06_default_config": ("config.json", layouts.APPLICATION, "certain"),
    "s07_first": ("config.json", layouts.FIRST, "certain"),
    "s08_universal": ("config.json", layouts.UNIVERSAL, "certain"),
    "s09_app_config": ("app_config.json", layouts.APPLICATION, "likely"),
    "s10_settings": ("settings.json", layouts.MULTI_BACKEND, "certain"),
    "s10_preferences": ("preferences.json", layouts.FLAT, "certain"),
    "s11_preset_fast": ("preset_fast.json", layouts.PRESET, "certain"),
    "s14_interface": ("config.json", layouts.INTERFACE, "certain"),
    "s15_fragment": ("config.json", layouts.FLAT, "certain"),
}
SIDE_FILES = {
    "s12_model_performance_cache": "model_performance_cache.json",
    "s13_model.gguf.meta": "model.gguf.meta.json",
    "s13_performance_report": "report.json",
    "s16_feedback_config": "feedback_config.json",
}


def read(samples: Path, name: str) -> str:
    """The text of a sample."""
    return (samples / f"{name}.json").read_text(encoding="utf-8")


def put_there(workshop: Any, samples: Path, name: str) -> Any:
    """The plan for a sample, under the name that it has on disk."""
    return workshop.plan(read(samples, name), name=SAMPLES[name][0])


@pytest.mark.parametrize("name", SAMPLES)
def test_each_layout_is_recognised_as_itself(workshop: Any, samples: Path, name: str) -> None:
    """Content decides what a file is: nine samples have the same name, and each is told from the others."""
    _, version, confidence = SAMPLES[name]
    plan = put_there(workshop, samples, name)
    label = next(entry.name for entry in layouts.VERSIONS if entry.version == version)
    assert (plan.status, plan.source, plan.confidence) == ("migrate", label, confidence)
    detections = list(workshop.planner.graph.family("gguf-loader").detect(workshop.candidate(plan.path)))
    assert [detection.version for detection in detections] == [version]
    assert all(detections[0].evidence)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_layout_becomes_exactly_what_it_should(workshop: Any, samples: Path, name: str) -> None:
    """The result is the expected text, to the byte."""
    plan = put_there(workshop, samples, name)
    expected = (samples / "expected" / f"{name}.json").read_text(encoding="utf-8")
    assert plan.changes[0].after.decode() == expected


@pytest.mark.parametrize("name", SAMPLES)
def test_each_result_is_valid_and_in_force(workshop: Any, samples: Path, name: str) -> None:
    """The validator has nothing against the result, and the settings can be read from it."""
    plan = put_there(workshop, samples, name)
    path = workshop.paths.config_file
    path.parent.mkdir(parents=True)
    path.write_bytes(plan.changes[0].after)
    result = ConfigValidator().validate_config(path)
    assert [str(issue) for issue in result.issues if issue.severity == "error"] == []
    assert ConfigManager(workshop.paths, environ={}).settings.version == 1


@pytest.mark.parametrize("name", SAMPLES)
def test_no_key_of_any_layout_is_lost(workshop: Any, samples: Path, name: str) -> None:
    """The account has every key; a dropped one has a reason, and any other is where it is said to be."""
    plan = put_there(workshop, samples, name)
    source = workshop.value(read(samples, name))
    assert sum(plan.account.counts().values()) == len(list(leaves(source)))
    result = dict(leaves(json.loads(workshop.plain(plan))))
    for key in plan.account.keys:
        if key.fate.value == "dropped":
            assert key.why
        else:
            assert any(place == key.target or place.startswith(f"{key.target}.") for place in result), key


@pytest.mark.parametrize("name", SAMPLES)
def test_a_second_time_changes_nothing(workshop: Any, samples: Path, name: str) -> None:
    """What was made is current."""
    again = workshop.plan(put_there(workshop, samples, name).changes[0].after)
    assert (again.status, again.changes) == ("current", ())


def test_a_set_that_prefers_nothing_says_so_without_a_warning(workshop: Any) -> None:
    """Null is what the program writes where the user has no wish; it is no wish, and no fault."""
    source = {
        "version": "1.1.0",
        "preferences": {"preferred_backend": None},
        "backend_configs": {"llamafile": {"name": "llamafile", "threads": 2}},
        "custom_fallback_order": None,
    }
    plan = workshop.plan(source)
    assert workshop.value(plan.changes[0].after) == {"version": 1, "backends": {"llamafile": {"threads": 2}}}
    assert plan.findings == ()


@pytest.mark.parametrize("name", SIDE_FILES)
def test_side_files_are_known_and_left_alone(workshop: Any, samples: Path, name: str) -> None:
    """A file that is no configuration is never unknown: it stays as it is, and the plan says what to do."""
    plan = workshop.plan(read(samples, name), name=f"home/{SIDE_FILES[name]}")
    assert (plan.status, plan.changes) == ("migrate", ())
    (finding,) = plan.findings
    assert finding.severity.value == "todo"
    assert f"--kind home {plan.path.parent}" in finding.message


def test_a_note_beside_a_model_names_the_folder_above(workshop: Any, samples: Path) -> None:
    """The folder to migrate is the one that has the folder of models in it."""
    plan = workshop.plan(read(samples, "s13_model.gguf.meta"), name="home/models/model.gguf.meta.json")
    assert f"--kind home {plan.path.parent.parent}`" in plan.findings[0].message


def test_modelplugs_own_settings_are_no_source(workshop: Any, samples: Path) -> None:
    """The settings of modelplug are recognised as such, and nothing is planned for them."""
    plan = workshop.plan(read(samples, "current_modelplug"))
    assert (plan.status, plan.source, plan.changes) == ("current", "modelplug", ())


def leaves(value: Any, path: tuple[str, ...] = ()) -> Any:
    """Every value that is no object with entries, by its place."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, f'"{name}"' if "." in name else name))
    else:
        yield ".".join(path), value
