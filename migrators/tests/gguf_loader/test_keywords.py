"""Every keyword of llama-cpp-python: none is missing, and each goes where it belongs on each backend."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from modelplug_migrators.gguf_loader.engines import ENGINES
from modelplug_migrators.gguf_loader.llama import GGML_TYPES, KEYWORDS, SAMPLING, VERSIONS

# What each backend makes of every keyword that has a place in sections: the value in the file, and per
# backend its place and value afterwards; None where the backend has no such setting.
GPU_LAYERS, CONTEXT = ("gpu_layers", 35), ("context_size", 4096)
EVERYWHERE = ("ctransformers", "llamacpp", "llamafile", "transformers")
IN_SECTIONS: dict[str, tuple[Any, dict[str, tuple[str, Any] | None]]] = {
    "n_gpu_layers": (35, {**dict.fromkeys(EVERYWHERE, GPU_LAYERS), "transformers": None}),
    "n_ctx": (4096, dict.fromkeys(EVERYWHERE, CONTEXT)),
    "n_batch": (256, dict.fromkeys(EVERYWHERE, ("batch_size", 256))),
    "n_threads": (6, dict.fromkeys(EVERYWHERE, ("threads", 6))),
    "use_mmap": (False, {**dict.fromkeys(EVERYWHERE, ("use_mmap", False)), "transformers": None}),
    "use_mlock": (True, {**dict.fromkeys(EVERYWHERE, ("use_mlock", True)), "transformers": None}),
    "n_ubatch": (128, {**dict.fromkeys(EVERYWHERE, None), "llamacpp": ("ubatch_size", 128)}),
    "flash_attn": (True, {**dict.fromkeys(EVERYWHERE, None), "llamacpp": ("flash_attention", True)}),
}
GENERATION = {
    "temperature": 0.4,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.05,
    "repeat_penalty": 1.2,
    "max_tokens": 99,
    "stop": ["###"],
    "seed": 7,
}


def real_keywords() -> dict[str, dict[str, Any]]:
    """The keywords as read from the package itself: version -> name -> type and default."""
    folder = os.environ.get("MODELPLUG_SHARED", "/work/shared")
    file = Path(folder) / "data" / "llama-cpp-python-keywords.json"
    if not file.is_file():
        pytest.skip("the list of the package's own keywords is not here")
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_table_has_the_packages_keywords() -> None:
    """Every keyword of every version looked at is in the table, for exactly the versions that have it."""
    real = real_keywords()
    assert tuple(real) == VERSIONS
    for version, keywords in real.items():
        ours = {name for name, keyword in KEYWORDS.items() if version in keyword.versions.split()}
        assert ours == keywords.keys(), version


def test_the_tables_types_are_the_packages() -> None:
    """A keyword with a place takes values of the type that the package has it for."""
    kinds = {"int": "whole", "bool": "flag", "float": "number", "str": "text"}
    for keywords in real_keywords().values():
        for name, facts in keywords.items():
            kind = KEYWORDS[name].setting.kind
            if kind != "any":
                assert kinds[facts["type"].removeprefix("Optional[").removesuffix("]")] == kind, name


def test_each_keyword_has_a_place_or_a_reason() -> None:
    """Nothing is in the table without saying where it goes, or why it goes nowhere."""
    for name, keyword in {**KEYWORDS, **SAMPLING}.items():
        assert keyword.place or keyword.why, name
        assert keyword.versions or name in SAMPLING


@pytest.mark.parametrize("backend", EVERYWHERE)
def test_each_backend_gets_what_it_has_settings_for(workshop: Any, backend: str) -> None:
    """What the backend's settings have goes into its section, and everything else is kept with its value."""
    source = {name: value for name, (value, _) in IN_SECTIONS.items()}
    result = workshop.migrate(source, backend=backend)
    expected = {
        place[0]: place[1] for _, places in IN_SECTIONS.values() if (place := places[backend]) is not None
    }
    kept = {name: value for name, (value, places) in IN_SECTIONS.items() if places[backend] is None}
    assert result["preferred_backend"] == backend
    assert result["backends"] == {backend: expected}
    assert result.get("extras", {}) == kept


def test_sampling_keys_go_to_generation(workshop: Any) -> None:
    """What says how to generate is set for every backend."""
    assert workshop.migrate({"n_ctx": 512, **GENERATION})["generation"] == GENERATION


@pytest.mark.parametrize("name", sorted(name for name, keyword in KEYWORDS.items() if not keyword.place))
def test_a_keyword_without_a_place_is_kept_with_its_reason(workshop: Any, name: str) -> None:
    """It stands under extras with the value it had, and both the account and a note say why."""
    plan = workshop.plan({"n_ctx": 512, name: 3})
    assert workshop.value(plan.changes[0].after)["extras"] == {name: 3}
    (key,) = [key for key in plan.account.keys if key.key == name]
    assert (key.fate.value, key.target) == ("extras", f"extras.{name}")
    assert "no effect" in key.why
    assert any(f"it is kept as extras.{name}" in finding.message for finding in plan.findings)


def test_every_keyword_at_once_adds_up(workshop: Any) -> None:
    """A file with every keyword there ever was loses none of them."""
    source = dict.fromkeys({**KEYWORDS, **SAMPLING}, 1)
    plan = workshop.plan(source)
    counts = plan.account.counts()
    assert sum(counts.values()) == len(source)
    assert counts["dropped"] == 0


@pytest.mark.parametrize(("number", "name"), sorted(GGML_TYPES.items()))
def test_cache_types_are_named(workshop: Any, number: int, name: str) -> None:
    """`type_k` and `type_v` that agree become the type's name, and come back as its number."""
    source = {"n_ctx": 512, "backend": "llamacpp", "type_k": number, "type_v": number}
    result = workshop.plan(source)
    assert workshop.value(result.changes[0].after)["backends"]["llamacpp"]["kv_type"] == name
    back = workshop.migrate(result.changes[0].after, target="legacy")
    assert (back["type_k"], back["type_v"]) == (number, number)


@pytest.mark.parametrize(
    "types",
    [
        {"type_k": 8, "type_v": 1},
        {"type_k": 8},
        {"type_k": 99, "type_v": 99},
        {"type_k": "q8_0", "type_v": 8},
    ],
)
def test_cache_types_that_say_no_one_thing_are_kept(workshop: Any, types: dict[str, Any]) -> None:
    """Two different types, one alone, or an unknown number become no setting, and are warned of."""
    plan = workshop.plan({"n_ctx": 512, "backend": "llamacpp", **types})
    result = workshop.value(plan.changes[0].after)
    assert result["extras"] == types
    assert "kv_type" not in result["backends"]["llamacpp"]
    warned = {finding.key for finding in plan.findings if finding.severity.value == "warning"}
    assert warned == set(types)


@pytest.mark.parametrize(("value", "name"), [(True, "f16"), (False, "f32")])
def test_the_old_switch_for_the_cache_is_named(workshop: Any, value: bool, name: str) -> None:
    """`f16_kv` of early versions says which of two types the cache has."""
    result = workshop.migrate({"n_ctx": 512, "backend": "llamacpp", "f16_kv": value})
    assert result["backends"]["llamacpp"] == {"kv_type": name, "context_size": 512}


@pytest.mark.parametrize(
    ("source", "section"),
    [
        ({"n_gpu_layers": -1}, {"gpu_layers": -1}),
        ({"n_gpu_layers": 0}, {"gpu_layers": 0}),
        ({"n_ctx": 0}, {"context_size": None}),
        ({"n_threads": None}, {"threads": None}),
        ({"n_threads": 0}, {"threads": None}),
    ],
)
def test_values_that_mean_something_else_are_read_so(
    workshop: Any, source: dict[str, Any], section: dict[str, Any]
) -> None:
    """-1 layers stay all, and what left the choice to the program becomes null."""
    assert workshop.migrate(source)["backends"]["ctransformers"] == section


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("ctransformers", "ctransformers itself would read it as none"),
        ("llamafile", "llamafile itself wants 999"),
        ("llamacpp", "-1 means all layers"),
    ],
)
def test_all_layers_are_explained_for_the_backend(workshop: Any, backend: str, words: str) -> None:
    """The plan says what -1 means, and that the backend's own -1 may mean something else."""
    plan = workshop.plan({"n_gpu_layers": -1}, backend=backend)
    (note,) = [finding for finding in plan.findings if finding.key == f"backends.{backend}.gpu_layers"]
    assert words in note.message
    assert note.line == 2


@pytest.mark.parametrize("seed", [-1, 2**32 - 1])
def test_a_random_seed_becomes_null(workshop: Any, seed: int) -> None:
    """The values with which llama-cpp-python draws a fresh seed are no seeds."""
    assert workshop.migrate({"n_ctx": 1, "seed": seed})["generation"] == {"seed": None}


def test_no_layers_keep_transformers_off_the_gpu(workshop: Any) -> None:
    """Layers are not counted by transformers, but 0 of them can be said in another way."""
    result = workshop.migrate({"n_gpu_layers": 0}, backend="transformers")
    assert result["backends"] == {"transformers": {"gpu_enabled": False}}
    assert result["extras"] == {"n_gpu_layers": 0}


def test_a_batch_beyond_the_engines_limit_is_kept_and_not_cut(workshop: Any) -> None:
    """What is more than ctransformers can take is no setting of it, and nothing is made up instead."""
    plan = workshop.plan({"n_ctx": 512, "n_batch": 1024})
    result = workshop.value(plan.changes[0].after)
    assert result["extras"] == {"n_batch": 1024}
    assert result["backends"]["ctransformers"] == {"context_size": 512}
    assert any("1024 is more than 512" in finding.message for finding in plan.findings)
    assert (
        workshop.migrate({"n_batch": 1024}, backend="llamacpp")["backends"]["llamacpp"]["batch_size"] == 1024
    )


def test_the_sections_are_those_of_the_plugins() -> None:
    """What this family knows of each backend's section is what its plugin's settings class says."""
    attrs = pytest.importorskip("attrs")
    classes = {
        "ctransformers": ("modelplug_ctransformers.settings", "CtransformersSettings"),
        "llamacpp": ("modelplug_llamacpp.settings", "LlamaCppSettings"),
        "llamafile": ("modelplug_llamafile.settings", "LlamafileSettings"),
        "transformers": ("modelplug_transformers.settings", "TransformersSettings"),
    }
    compared = 0
    for backend, (module, name) in classes.items():
        try:
            found = __import__(module, fromlist=[name])
        except ImportError:
            continue
        names = {field.name for field in attrs.fields(getattr(found, name))}
        assert names - ENGINES[backend].keys() <= {"gpu_layers"}, backend
        assert ENGINES[backend].keys() <= names, backend
        compared += 1
    if not compared:
        pytest.skip("no plugin is installed")
