"""Which backend the settings of a one-backend file are for, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelplug.formats.model_info import ModelInfo

FLAT = {"model_path": "/models/qwen.gguf", "n_ctx": 2048}


def model(*compatible: str, **incompatible: str) -> ModelInfo:
    """What looking at a model found."""
    return ModelInfo(
        path=Path("/models/qwen.gguf"),
        format="gguf",
        architecture="qwen2",
        compatible_backends=compatible,
        incompatible_backends=incompatible,
    )


def messages(plan: Any) -> str:
    """Everything the plan tells."""
    return "\n".join(finding.message for finding in plan.findings)


def test_the_guides_choice_is_the_default(workshop: Any) -> None:
    """Nothing says otherwise: ctransformers, as the guide has it, and a warning that the model is missing."""
    plan = workshop.plan(FLAT)
    result = workshop.value(plan.changes[0].after)
    assert (result["preferred_backend"], list(result["backends"])) == ("ctransformers", ["ctransformers"])
    assert "there is no model at" in messages(plan)


def test_a_model_that_only_llamacpp_can_run_decides(workshop: Any) -> None:
    """The guide's backend can't load most of today's models; where that is so, the plan says why."""
    reason = "it does not know the architecture qwen2"
    workshop.models["/models/qwen.gguf"] = model("llamacpp", "llamafile", ctransformers=reason)
    plan = workshop.plan(FLAT)
    result = workshop.value(plan.changes[0].after)
    assert (result["preferred_backend"], result["backends"]) == (
        "llamacpp",
        {"llamacpp": {"context_size": 2048}},
    )
    assert f'ctransformers can\'t run "/models/qwen.gguf" ({reason}), and llamacpp can' in messages(plan)


@pytest.mark.parametrize(
    "found",
    [model("ctransformers", "llamacpp"), model(), model("llamafile", ctransformers="it is not installed")],
)
def test_anything_else_leaves_the_guides_choice(workshop: Any, found: ModelInfo) -> None:
    """A model that ctransformers can run, or llama.cpp can't, changes nothing."""
    workshop.models["/models/qwen.gguf"] = found
    assert workshop.migrate(FLAT)["preferred_backend"] == "ctransformers"


def test_a_backend_that_cannot_run_the_model_is_warned_of(workshop: Any) -> None:
    """What the file prefers is kept; that it won't work is told with the reason and what would."""
    workshop.models["/models/qwen.gguf"] = model("llamacpp", ctransformers="it is not installed")
    plan = workshop.plan({**FLAT, "backend": "ctransformers"})
    assert workshop.value(plan.changes[0].after)["preferred_backend"] == "ctransformers"
    assert "ctransformers can't run" in messages(plan)
    assert "it is not installed" in messages(plan)


@pytest.mark.parametrize("backend", ["ctransformers", "llamacpp", "llamafile", "transformers"])
def test_the_option_decides(workshop: Any, backend: str) -> None:
    """What the user says counts more than the model and the file."""
    workshop.models["/models/qwen.gguf"] = model("llamacpp", ctransformers="no")
    result = workshop.migrate({**FLAT, "backend": "llamafile"}, backend=backend)
    assert result["preferred_backend"] == backend
    assert result["backends"] == {backend: {"context_size": 2048}}


@pytest.mark.parametrize(
    "spelling", ["llama-cpp-python", "llama_cpp_python", "llama.cpp", "LlamaCpp", "llamacpp"]
)
def test_the_option_and_the_file_may_use_any_spelling(workshop: Any, spelling: str) -> None:
    """llama.cpp has had many names, and they all mean one backend."""
    assert workshop.migrate(FLAT, backend=spelling)["preferred_backend"] == "llamacpp"
    assert workshop.migrate({**FLAT, "backend": spelling})["preferred_backend"] == "llamacpp"


def test_an_option_that_names_no_backend_is_refused(workshop: Any) -> None:
    """Nothing is planned for a backend that there is not, and the error lists those there are."""
    plan = workshop.plan(FLAT, backend="vllm")
    assert plan.status == "refused"
    assert "ctransformers, llamacpp, llamafile, transformers" in plan.error["why"]


def test_an_option_that_has_no_effect_is_told(workshop: Any) -> None:
    """A file with sections of its own has no flat settings to give to a backend."""
    source = {"preferred_backend": "llamafile", "backends": {"llamafile": {"threads": 4}}}
    plan = workshop.plan(source, backend="llamacpp")
    assert workshop.value(plan.changes[0].after)["preferred_backend"] == "llamafile"
    assert "the option backend=llamacpp has no effect" in messages(plan)
    assert workshop.plan(source, backend="vllm").status == "refused"


@pytest.mark.parametrize(
    "choice",
    [
        {"preferred_backend": "llamafile"},
        {"backend": "llamafile"},
        {"backend.current": "llamafile"},
        {"default_backend": "llamafile"},
        {"backend_preference": "llamafile"},
        {"preferences": {"preferred_backend": "llamafile"}},
        {"backend": "auto", "backend_preference": "llamafile"},
    ],
)
def test_a_choice_in_the_file_is_kept(workshop: Any, choice: dict[str, Any]) -> None:
    """Whichever key of the older layouts names the backend, it is the one the settings are for."""
    workshop.models["/models/qwen.gguf"] = model("llamacpp", ctransformers="no")
    result = workshop.migrate({**FLAT, **choice})
    assert result["preferred_backend"] == "llamafile"
    assert result["backends"] == {"llamafile": {"context_size": 2048}}
    assert "extras" not in result


def test_two_choices_are_one_and_a_warning(workshop: Any) -> None:
    """Where two keys name two backends, one counts, and the other is kept with a warning."""
    plan = workshop.plan({**FLAT, "backend": "llamafile", "backend_preference": "ctransformers"})
    result = workshop.value(plan.changes[0].after)
    assert result["preferred_backend"] == "llamafile"
    assert result["extras"] == {"backend_preference": "ctransformers"}
    assert "backend_preference: preferred_backend counts" in messages(plan)


def test_a_choice_that_means_nothing_is_kept_and_warned_of(workshop: Any) -> None:
    """A name that no backend has is not taken for one."""
    plan = workshop.plan({**FLAT, "backend": "exllama"})
    result = workshop.value(plan.changes[0].after)
    assert (result["preferred_backend"], result["extras"]) == ("ctransformers", {"backend": "exllama"})
    assert "it names no backend there is" in messages(plan)


def test_automatic_choice_prefers_none(workshop: Any) -> None:
    """`auto` leaves the choice to the program, and so does the result."""
    result = workshop.migrate({"backend.current": "auto", "backend.gpu_layers": 3})
    assert "preferred_backend" not in result
    assert result["backends"] == {"ctransformers": {"gpu_layers": 3}}


def test_settings_go_to_the_only_section_there_is(workshop: Any) -> None:
    """In a file that has both, the flat keys are for the backend that has a section."""
    result = workshop.migrate({"n_ctx": 2048, "backends": {"llama-cpp-python": {"use_mlock": True}}})
    assert result["backends"] == {"llamacpp": {"use_mlock": True, "context_size": 2048}}


def test_an_order_with_unknown_names_is_reported(workshop: Any) -> None:
    """A fallback order keeps a name that no backend has, and the plan says so."""
    plan = workshop.plan({"preferred_backend": "llamafile", "fallback_order": ["llama-cpp-python", "vllm"]})
    assert workshop.value(plan.changes[0].after)["fallback_order"] == ["llamacpp", "vllm"]
    assert "fallback_order names 'vllm', which is no backend known here" in messages(plan)
