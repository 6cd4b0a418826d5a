"""The way back: what was there comes back, and where something would be lost, nothing is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug_migrators.gguf_loader.llama import KEYWORDS

if TYPE_CHECKING:
    from pathlib import Path

FLAT: dict[str, Any] = {
    "model_path": "/models/a.gguf",
    "n_gpu_layers": -1,
    "n_ctx": 0,
    "n_batch": 512,
    "n_threads": None,
    "use_mmap": True,
    "use_mlock": False,
    "flash_attn": True,
    "type_k": 8,
    "type_v": 8,
    "rope_freq_base": 10000.0,
    "n_threads_batch": 8,
    "verbose": False,
    "temperature": 0.7,
    "stop": ["###"],
    "seed": 42,
    "my own": {"note": 1},
}
MULTI: dict[str, Any] = {
    "preferred_backend": "llamafile",
    "model_path": "/models/a.gguf",
    "fallback_enabled": True,
    "fallback_order": ["llama-cpp-python", "llamafile"],
    "theme": "dark",
    "model_directory": "~/models",
    "addon_settings": {"a": {"on": True}},
    "backends": {
        "llamafile": {"threads": 8, "priority": 2},
        "llama-cpp-python": {"gpu_layers": 20, "priority": 1, "metal_enabled": True},
    },
    "mine": [1, 2],
}
UNIVERSAL: dict[str, Any] = {
    "backends": {
        "default": "llama_cpp_python",
        "llama_cpp_python": {"gpu_layers": 32, "priority": 1, "supported_formats": ["gguf"]},
        "transformers": {"device_map": "auto", "priority": 2},
    },
    "backend_priorities": {"gguf": ["llama_cpp_python"], "pytorch_bin": ["transformers"]},
    "ui": {"theme": "dark", "scale": 2},
    "paths": {"model_directory": "~/models"},
    "addons": {"a": 1},
}


def back_and_forth(workshop: Any, source: dict[str, Any], label: str, **options: str) -> Any:
    """What a file holds after going to modelplug's settings and back."""
    forth = workshop.plan(source, **options).changes[0].after
    return workshop.migrate(forth, target=label, **options)


@pytest.mark.parametrize("backend", ["llamacpp", "ctransformers", "llamafile", "transformers"])
def test_a_flat_file_comes_back(workshop: Any, backend: str) -> None:
    """Every keyword has the value it had, also those that had no effect in between."""
    result = back_and_forth(workshop, FLAT, "legacy", backend=backend)
    assert result.pop("backend", "ctransformers") in (backend, "llama-cpp-python")
    assert result.pop("gpu_enabled", True)
    assert result == FLAT


def test_a_multi_backend_file_comes_back(workshop: Any) -> None:
    """All that is added is the order which the priorities say anyway."""
    assert back_and_forth(workshop, MULTI, "1") == MULTI


def test_a_multi_backend_file_goes_to_the_universal_one_and_back(workshop: Any) -> None:
    """Between the two older layouts there and back is nothing at all."""
    assert workshop.migrate(workshop.plan(MULTI, target="2").changes[0].after, target="1") == MULTI


def test_a_universal_file_comes_back(workshop: Any) -> None:
    """The same keys with the same values; only the order that the priorities say is added."""
    result = back_and_forth(workshop, UNIVERSAL, "2")
    assert result.pop("fallback_order") == ["llama_cpp_python", "transformers"]
    assert result == UNIVERSAL


def test_a_backend_set_comes_back_one_version(workshop: Any) -> None:
    """From 1.0.0 to 1.1.0 and back is the same file."""
    source = {
        "version": "1.0.0",
        "preferred_backend": "llamafile",
        "fallback_enabled": False,
        "backends": {"llamafile": {"enabled": True, "gpu_layers": -1}},
    }
    onward = workshop.plan(source, target="0.9").changes[0].after
    assert workshop.value(onward)["backend_configs"]["llamafile"]["name"] == "llamafile"
    assert workshop.migrate(onward, target="0.8") == source


def test_what_only_modelplug_has_stays_on_the_way_back(workshop: Any) -> None:
    """Settings that the older layouts have no place for are not lost: the file keeps them."""
    source = {"version": 1, "preferred_backend": "llamacpp", "isolation": "inline", "deadlines": {"load": 5}}
    result = workshop.migrate(source, target="2")
    assert result == {
        "isolation": "inline", "deadlines": {"load": 5}, "backends": {"default": "llama_cpp_python"},
    }  # fmt: skip


def test_several_backends_do_not_fit_into_a_flat_file(workshop: Any) -> None:
    """Going back would lose a backend's settings, so that nothing is planned until one is named."""
    source = {"version": 1, "backends": {"llamacpp": {"gpu_layers": 3}, "llamafile": {"threads": 4}}}
    plan = workshop.plan(source, target="legacy")
    assert (plan.status, plan.changes) == ("refused", ())
    assert "say which with the option backend" in plan.error["why"]
    result = workshop.migrate(source, target="legacy", backend="llamafile")
    assert result == {"n_threads": 4, "extras": {"backends": {"llama-cpp-python": {"gpu_layers": 3}}}}


def test_a_preference_without_settings_is_not_given_to_another(workshop: Any) -> None:
    """Settings of one backend are not taken for those of the preferred one."""
    source = {"version": 1, "preferred_backend": "llamacpp", "backends": {"llamafile": {"threads": 4}}}
    assert workshop.plan(source, target="legacy").status == "refused"


def test_nothing_to_say_is_refused(workshop: Any) -> None:
    """A flat file without any keyword would not be recognised again."""
    plan = workshop.plan({"version": 1, "model_path": "x.gguf"}, target="legacy")
    assert plan.status == "refused"
    assert "nothing in it that a flat file" in plan.error["why"]


def test_as_many_layers_as_fit_have_no_keyword(workshop: Any) -> None:
    """llama-cpp-python has no value for it, so that it is kept among the extras with a warning."""
    source = {"version": 1, "backends": {"llamacpp": {"gpu_layers": None, "context_size": None}}}
    result = workshop.migrate(source, target="legacy")
    assert result == {"n_ctx": 0, "extras": {"backends": {"llama-cpp-python": {"gpu_layers": None}}}}


SECTION_VALUES = {
    "n_gpu_layers": st.integers(-1, 200),
    "n_batch": st.integers(1, 512),
    "n_threads": st.none() | st.integers(1, 64),
    "n_ubatch": st.integers(1, 512),
    "use_mmap": st.booleans(),
    "use_mlock": st.booleans(),
    "flash_attn": st.booleans(),
    "seed": st.integers(0, 2**32 - 2),
    "temperature": st.floats(0, 2),
    "top_k": st.integers(0, 100),
    "max_tokens": st.integers(1, 4096),
    "stop": st.lists(st.text(min_size=1, max_size=4), max_size=2),
}
ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
UNPLACED = sorted(name for name, keyword in KEYWORDS.items() if not keyword.place)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.fixed_dictionaries({"n_ctx": st.integers(0, 200_000)}, optional=SECTION_VALUES),
    unplaced=st.dictionaries(st.sampled_from(UNPLACED), ANYTHING, max_size=4),
    own=st.dictionaries(st.text(min_size=3, max_size=6).map("own {}".format), ANYTHING, max_size=3),
    backend=st.sampled_from(["ctransformers", "llamacpp", "llamafile"]),
)
def test_any_flat_file_with_sound_values_comes_back(
    workshop: Any, values: dict[str, Any], unplaced: dict[str, Any], own: dict[str, Any], backend: str
) -> None:
    """Whatever the values: going forth and back gives every key with its value."""
    source = {**values, **unplaced, **own}
    result = back_and_forth(workshop, source, "legacy", backend=backend)
    result.pop("backend", None)
    assert result == source


def test_the_file_is_only_planned_for(workshop: Any, tmp_path: Path) -> None:
    """Planning writes nothing, in either direction."""
    path = workshop.put(FLAT)
    before = path.read_bytes()
    workshop.plan_path(path)
    workshop.plan_path(path, target="1")
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]
