"""What a file is: told by its content, with evidence; and what is none of ours is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from modelplug.migration.detection import Wishes, detect
from modelplug.migration.steps import Confidence, Kind
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.detection import recognise

FOREIGN: dict[str, Any] = {
    "nothing": {},
    "a GPT-2 model": {"model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_layer": 12, "vocab_size": 50257},
    "how a model generates": {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "max_length": 4096},
    "a tokenizer": {
        "model_max_length": 2048,
        "tokenizer_class": "LlamaTokenizer",
        "chat_template": "{{ x }}",
    },
    "a package": {"name": "x", "version": "1.0.0", "description": "y", "scripts": {}},
    "an editor's settings": {"theme": "dark", "window.zoomLevel": 1, "editor.fontSize": 12},
    "a compose file": {"version": "3.8", "services": {"a": {}}},
    "a numbered file": {"version": 1, "formatters": {}, "handlers": {}},
    "a small language model": {"d_model": 256, "n_layers": 8, "n_seq": 2048, "vocab_size": 30000},
    "one common word": {"backend": "qt"},
    "another common word": {"context_size": 5},
    "a theme and a level": {"theme": "dark", "log_level": "INFO"},
    "a name and a configuration": {"name": "release", "configuration": {"optimise": True}},
    "backends of something else": {"backends": ["a", "b"]},
    "a Terraform file": {"backends": {"s3": "bucket"}},
    "a training run": {"flash_attn": True, "seed": 1, "temperature": 1.0},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_files_of_others_are_unknown(workshop: Any, what: str) -> None:
    """A file that merely shares a word with one of ours is not claimed."""
    assert recognise(FOREIGN[what]) is None
    assert workshop.plan(FOREIGN[what]).status == "unknown"


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ({"n_ctx": 2048, "version": "1.0.0", "theme": "dark", "window_size": [1, 2]}, layouts.APPLICATION),
        ({"n_ctx": 2048, "theme": "dark"}, layouts.FLAT),
        ({"n_ctx": 2048, "backends": {"llamafile": {}}}, layouts.FLAT),
        ({"n_ctx": 2048, "gpu_layers": 3, "context_size": 4, "backend": "llamafile"}, layouts.FIRST),
        ({"n_ctx": 2048, "backend": "llamafile"}, layouts.FLAT),
        ({"n_ctx": 2048, "version": 1}, layouts.FLAT),
        ({"backend_configs": {}, "n_ctx": 2048}, layouts.BACKEND_SET_1_1),
        ({"backends": {"default": "auto"}, "n_ctx": 2048, "version": "9.9.9"}, layouts.UNIVERSAL),
        ({"backend.current": "auto", "n_ctx": 2048, "thread_count": 2}, layouts.INTERFACE),
        ({"backend_preference": "auto"}, layouts.FIRST),
        ({"gpu_layers": 20, "context_size": 4096}, layouts.FIRST),
        ({"default_backend": "llama.cpp"}, layouts.FIRST),
        ({"use_mmap": True}, layouts.FLAT),
        ({"model_path": "x.gguf"}, layouts.FLAT),
        ({"model_path": "x.gguf", "seed": 3}, layouts.FLAT),
        ({"type_k": 8, "rope_freq_base": 1e4}, layouts.FLAT),
        ({"fallback_order": ["llamafile"]}, layouts.MULTI_BACKEND),
        ({"backends": {"exotic": {"threads": 2}}}, layouts.MULTI_BACKEND),
        ({"backends": {}}, layouts.MULTI_BACKEND),
        ({"preferred_backend": None}, layouts.MULTI_BACKEND),
        ({"backends": {"llamafile": {}}, "version": "nonsense"}, layouts.BACKEND_SET_1_0),
        ({"backends": {"llamafile": {}}, "version": "1.0.5"}, layouts.BACKEND_SET_1_0),
        ({"window_size": [1, 2], "recent_models": []}, layouts.APPLICATION),
        ({"name": "a", "configuration": {"n_ctx": 512}}, layouts.PRESET),
        ({"version": 1}, layouts.MODELPLUG),
        ({"version": 1, "extras": {"a": 1}}, layouts.MODELPLUG),
        ({"version": 1, "isolation": "inline"}, layouts.MODELPLUG),
    ],
)
def test_mixtures_go_to_one_layout(values: dict[str, Any], version: Any) -> None:
    """A file with keys of several layouts is of the one that most speaks for; the others are carried too."""
    seen = recognise(values)
    assert seen is not None
    assert seen.version == version
    assert all(seen.evidence)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"version": "9.9.9", "backend_configs": {}, "preferences": {}}, "'9.9.9'"),
        ({"version": "1.2.0", "backend_configs": {}}, "'1.2.0'"),
        ({"version": "1.1.1", "backends": {"llamafile": {}}}, "'1.1.1'"),
        ({"version": "2.0.0", "theme": "dark", "window_size": [1, 2]}, "'2.0.0'"),
        ({"version": 2, "preferred_backend": "llamacpp"}, "2, and modelplug's newest is 1"),
        ({"name": "a", "configuration": {"version": "9.9.9", "backend_configs": {}}}, "'9.9.9'"),
    ],
)
def test_later_versions_are_refused_and_not_brought_down(
    workshop: Any, values: dict[str, Any], said: str
) -> None:
    """A file of a later program is left alone, and the evidence has its version."""
    plan = workshop.plan(values)
    assert (plan.status, plan.changes) == ("refused", ())
    assert plan.error["error"] == "FutureVersionError"
    assert said in " ".join(plan.evidence)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"n_ctx": 2048, "n_batch": NaN}', "NaN"),
        (b'{"n_ctx": 2048,, }', "line 1"),
        (b'{"n_gpu_layers": 35', "line 1"),
        (b'{"model_path": "\xff\xfe", "n_ctx": 2048}', "byte"),
        (b'{"ai_settings": {"temperature": Infinity}}', "Infinity"),
        (b'{"n_ctx": ' + b"9" * 400 + b"}", "300 digits"),
    ],
)
def test_a_damaged_file_of_ours_is_refused_with_the_place(workshop: Any, data: bytes, words: str) -> None:
    """A file that can't be read as JSON but has our names is not unknown: its owner hears what is wrong."""
    plan = workshop.plan(data)
    assert (plan.status, plan.changes) == ("refused", ())
    assert words in plan.error["why"]


@pytest.mark.parametrize("data", [b"", b"no json", b"[1, 2]", b'"text"', b"\xff\xff", b"null"])
def test_what_is_no_object_is_unknown(workshop: Any, data: bytes) -> None:
    """Anything else is nothing of ours."""
    assert workshop.plan(data).status == "unknown"


@pytest.mark.parametrize("name", ["config.yaml", "config.toml", "config.txt", "notes"])
def test_other_formats_are_not_looked_at(workshop: Any, name: str) -> None:
    """The older programs wrote JSON, and only that."""
    path = workshop.put('{"n_ctx": 2048}', name)
    assert list(workshop.planner.graph.family("gguf-loader").detect(workshop.candidate(path))) == []


@pytest.mark.parametrize("depth", [100, 900])
def test_deep_nesting_does_no_harm(workshop: Any, depth: int) -> None:
    """Presets within presets, and objects within objects, are looked at no deeper than needed."""
    preset = (
        '{"name": "a", "description": "", "created_at": 1, "configuration": ' * depth + "{}" + "}" * depth
    )
    assert workshop.plan(preset).status in ("migrate", "refused")
    deep = '{"n_ctx": 1, "mine": ' + '{"a": ' * depth + "[]" + "}" * depth + "}"
    assert workshop.plan(deep).status in ("migrate", "refused")
    workshop.put(deep, ".gguf-loader/config.json")
    assert workshop.plan_path(workshop.folder / ".gguf-loader").status == "migrate"


def test_every_detection_is_of_this_family(workshop: Any) -> None:
    """A detection names the family, the kind and how sure it is."""
    path = workshop.put({"n_ctx": 2048})
    found = detect(workshop.candidate(path), workshop.planner.graph, Wishes())
    assert found is not None
    assert (found.family, found.kind, found.confidence) == ("gguf-loader", Kind.CONFIG, Confidence.CERTAIN)


def test_a_version_may_be_told(workshop: Any) -> None:
    """Where content does not say it, the user may."""
    plan = workshop.plan({"seed": 3, "verbose": True}, source="0.1")
    assert plan.status == "migrate"
    assert plan.evidence == ("you said so",)
