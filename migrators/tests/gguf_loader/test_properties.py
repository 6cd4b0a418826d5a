"""For any mixture of keys: nothing raises, the account adds up, the result is valid, and stays as it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.config import ConfigManager, ConfigValidator
from modelplug.documents import read_document
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths
from modelplug_migrators.gguf_loader.detection import recognise
from modelplug_migrators.gguf_loader.family import FAMILY, STEPS
from modelplug_migrators.gguf_loader.layouts import NEWEST
from modelplug_migrators.gguf_loader.llama import KEYWORDS, SAMPLING
from modelplug_migrators.gguf_loader.rules import ENGINE_KEYS, RULES

ENGINES = [
    "ctransformers", "llama-cpp-python", "llama_cpp_python", "llamacpp", "transformers", "llamafile", "auto",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5000),
    st.sampled_from(
        [0, -1, 1, 512, 2048, 10**30, 35.0, 0.5, "35", "", "auto", "gpu", "cpu", "1.0.0", "true"]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(ENGINES),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SECTION_KEYS = [
    "enabled", "gpu_enabled", "gpu_layers", "context_size", "batch_size", "threads", "use_mmap", "use_mlock",
    "device_map", "torch_dtype", "priority", "supported_formats", "custom_args", "name", "metal_enabled",
    "n_ctx", "type_k", "type_v", "flash_attn", "other",
]  # fmt: skip
SECTIONS = st.dictionaries(
    st.sampled_from([*ENGINES, "default", "exotic"]),
    st.dictionaries(st.sampled_from(SECTION_KEYS), VALUES, max_size=4) | VALUES,
    max_size=3,
)
TOP = sorted(
    {str(rule.path[0]) for rule in RULES}
    | {str(path[0]) for path in ENGINE_KEYS}
    | {*KEYWORDS, *SAMPLING}
    | {
        "version", "theme", "window_size", "recent_models", "extras", "generation", "deadlines", "isolation",
        "fallback", "fallback_enabled", "fallback_order", "fallback_order_by_format", "backend_priorities",
        "ui", "paths", "addons", "model_directory", "addon_settings", "custom_fallback_order",
        "hardware_overrides", "configuration", "name", "description", "created_at", "model_profiles",
        "backend_profiles", "window.geometry", "a note of mine", "last_modified",
    }
)  # fmt: skip
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "backends": SECTIONS | VALUES,
        "backend_configs": SECTIONS | VALUES,
        "fallback_order": st.lists(st.sampled_from(ENGINES), max_size=3) | VALUES,
        "preferences": st.dictionaries(
            st.sampled_from(
                ["preferred_backend", "gpu_preference", "auto_fallback_enabled", "max_load_time"]
            ),
            VALUES,
            max_size=3,
        ),
        "ai_settings": st.dictionaries(
            st.sampled_from(["temperature", "max_tokens", "top_k", "system_prompt"]), VALUES, max_size=3
        ),
        "configuration": st.dictionaries(st.sampled_from(TOP), VALUES, max_size=3),
        "version": st.sampled_from(["1.0.0", "1.1.0", "nonsense", 1]) | VALUES,
        "n_ctx": st.integers(-1, 4096),
    },
)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """Keys of any layout, in any combination, with values that fit or do not."""
    mixed = {**draw(st.dictionaries(st.sampled_from(TOP), VALUES, max_size=6)), **draw(PARTS)}
    return {name: mixed[name] for name in draw(st.permutations(list(mixed)))}


def leaves(value: Any) -> int:
    """How many keys an object holds that hold no others."""
    if isinstance(value, dict) and value:
        return sum(map(leaves, value.values()))
    return 1


def planner(folder: Path) -> Planner:
    """A planner of this family, with a home of its own."""
    return Planner(
        MigrationGraph([FAMILY], STEPS), Paths(config=folder, data=folder, cache=folder, logs=folder)
    )


@pytest.fixture(scope="module")
def folder() -> Any:
    """A folder for all examples."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def own_faults(path: Path) -> list[str]:
    """What a validator objects to, except for names of backends that the file had before."""
    result = ConfigValidator().validate_config(path)
    return [
        str(issue)
        for issue in result.issues
        if issue.severity == "error" and "no installed plugin" not in str(issue)
    ]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(values=mixtures())
def test_any_mixture_goes_all_the_way(folder: Path, values: dict[str, Any]) -> None:
    """What is recognised is migrated: nothing lost, valid afterwards, and a second time nothing changes."""
    seen = recognise(values)
    path = folder / "mixture.json"
    path.write_text(json.dumps(values, indent=1))
    plan = planner(folder).plan_candidate(Candidate(path), Wishes())
    if seen is None:
        assert plan.status == "unknown"
        return
    if seen.version >= NEWEST:
        assert plan.status == ("current" if seen.version == NEWEST else "refused")
        return
    assert plan.status == "migrate", (plan.error, plan.findings)
    assert sum(plan.account.counts().values()) == leaves(values)
    if not plan.changes:
        return
    (change,) = plan.changes
    assert change.after is not None
    path.write_bytes(change.after)
    again = planner(folder).plan_candidate(Candidate(path), Wishes())
    assert again.status == "current", (again.status, again.evidence)
    assert own_faults(path) == []
    settings_home = folder / "config.json"
    settings_home.write_bytes(change.after)
    paths = Paths(config=folder, data=folder, cache=folder, logs=folder)
    assert ConfigManager(paths, environ={}).settings.version == 1
    # A value that gave way to one that turned out to be none may come back from the extras; all else stays.
    effective = in_effect(read_document(change.after, "json").value)
    assert effective.items() <= in_effect(round_trip(path, "2")).items()
    path.write_bytes(change.after)
    assert effective.items() <= in_effect(round_trip(path, "1")).items()


def round_trip(path: Path, version: str) -> Any:
    """What the settings hold after going back to a version, and forth again."""
    for wishes in (Wishes(target=version), Wishes()):
        plan = planner(path.parent).plan_candidate(Candidate(path), wishes)
        assert plan.status == "migrate", (plan.error, path.read_text())
        content = plan.changes[0].after
        assert content is not None
        path.write_bytes(content)
    return read_document(path.read_bytes(), "json").value


def in_effect(values: Any, place: str = "") -> dict[str, str]:
    """Every setting that has an effect, by its place, spelled as JSON."""
    if not isinstance(values, dict) or not values:
        return {place: json.dumps(values)}
    found: dict[str, str] = {}
    for name, value in values.items():
        if (place, name) != ("", "extras"):
            found.update(in_effect(value, f"{place}/{name}"))
    return found
