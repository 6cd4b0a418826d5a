"""The family as a whole: its steps lead everywhere they should, and explain themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from modelplug.errors import NoMigrationPathError
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.registry import load_graph
from modelplug.migration.steps import Kind, Migration
from modelplug.paths import Paths
from modelplug.plugins import PluginManager
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.family import FAMILY, STEPS

GRAPH = MigrationGraph([FAMILY], STEPS)
SOURCES = [
    entry.version for entry in layouts.VERSIONS if entry.version not in (layouts.HOME, layouts.MODELPLUG)
]


@pytest.mark.parametrize("version", SOURCES, ids=str)
def test_every_layout_leads_to_modelplug(version: Any) -> None:
    """There is a way from each version there ever was."""
    path = GRAPH.path(FAMILY.name, Kind.CONFIG, version, layouts.MODELPLUG)
    assert path[-1].target == layouts.MODELPLUG
    assert not any(step.backward for step in path)


def test_an_installation_leads_to_modelplug() -> None:
    """One step carries a whole home over."""
    (step,) = GRAPH.path(FAMILY.name, Kind.HOME, layouts.HOME, layouts.MODELPLUG)
    assert step.migration.kind is Kind.HOME


@pytest.mark.parametrize("version", [layouts.FLAT, layouts.MULTI_BACKEND, layouts.UNIVERSAL], ids=str)
def test_the_way_back_leads_where_nothing_is_lost(version: Any) -> None:
    """Back to the layouts whose steps lose nothing."""
    path = GRAPH.path(FAMILY.name, Kind.CONFIG, layouts.MODELPLUG, version)
    assert all(step.backward for step in path)


@pytest.mark.parametrize(
    "version",
    [layouts.APPLICATION, layouts.FIRST, layouts.INTERFACE, layouts.PRESET, layouts.BACKEND_SET_1_1],
    ids=str,
)
def test_there_is_no_way_back_where_something_would_be(version: Any) -> None:
    """And nowhere else; the step says why."""
    with pytest.raises(NoMigrationPathError):
        GRAPH.path(FAMILY.name, Kind.CONFIG, layouts.MODELPLUG, version)
    (step,) = [step for step in STEPS if step.source == version]
    assert "There is no way back" in step.explanation()


def test_legacy_names_every_older_layout() -> None:
    """Users need not know the numbers."""
    assert FAMILY.find_versions("legacy") == tuple(
        v for v in [e.version for e in layouts.VERSIONS] if v.major == 0
    )
    assert FAMILY.find_versions("modelplug") == (layouts.MODELPLUG,)
    assert FAMILY.find_versions("1") == (layouts.MULTI_BACKEND,)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_each_step_explains_itself(step: type[Migration]) -> None:
    """The first line says what changes; the rest says how, and says something of the way back."""
    first, _, rest = step.explanation().partition("\n\n")
    assert "\n" not in first
    assert len(first) < 100
    assert "way back" in rest or step.renames
    assert step.summary() == first.rstrip(".")
    for sentence in (*step.breaking, *step.adds, *step.deprecates):
        assert sentence.endswith(".")


def test_the_steps_name_the_keys_they_move() -> None:
    """What `migrate explain` prints of the flat layout has every keyword that gets a place."""
    (step,) = [step for step in STEPS if step.source == layouts.FLAT]
    named = set(re.findall(r"`([a-z_.]+)`", step.explanation()))
    assert {
        "n_gpu_layers",
        "n_ctx",
        "n_batch",
        "n_threads",
        "n_ubatch",
        "use_mmap",
        "use_mlock",
        "seed",
    } <= named


def test_the_plugin_brings_the_family(own_home: Any) -> None:
    """The installed distribution is found through its entry point, and nothing in it is objected to."""
    plugins = PluginManager(paths=Paths.from_environment())
    graph = load_graph(plugins)
    assert FAMILY.name in {family.name for family in graph.families}
    assert len(list(graph.steps(FAMILY.name))) == len(STEPS)


def test_importing_the_plugin_is_light() -> None:
    """The module that the entry point names imports no step, and no migration machinery."""
    code = (
        "import sys, modelplug_migrators\n"
        "heavy = [n for n in sys.modules if n.startswith(('modelplug_migrators.', 'modelplug.migration',"
        " 'modelplug.documents', 'modelplug.formats', 'cattrs'))]\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
