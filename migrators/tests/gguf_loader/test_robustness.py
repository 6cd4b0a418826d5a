"""Files as people have them: odd bytes, odd types, keys twice; nothing raises, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest


def after(workshop: Any, content: object, **options: str) -> Any:
    """What a file with this content would hold afterwards."""
    return workshop.migrate(content, **options)


def warned(plan: Any) -> dict[str, int | None]:
    """The keys that are warned of, each with its line."""
    return {finding.key: finding.line for finding in plan.findings if finding.severity.value == "warning"}


def test_a_byte_order_mark_and_windows_line_ends_stay(workshop: Any) -> None:
    """The file keeps how it spells text and ends lines."""
    data = b'\xef\xbb\xbf{\r\n\t"n_ctx": 2048\r\n}\r\n'
    (change,) = workshop.plan(data).changes
    assert change.after.startswith(b"\xef\xbb\xbf{\r\n")
    assert change.after.count(b"\n") == change.after.count(b"\r\n")
    assert workshop.value(change.after)["backends"] == {"ctransformers": {"context_size": 2048}}


def test_utf_16_stays_utf_16(workshop: Any) -> None:
    """A file that an editor saved as UTF-16 is read and written as such."""
    (change,) = workshop.plan('{"n_ctx": 2048}'.encode("utf-16")).changes
    assert json.loads(change.after.decode("utf-16"))["backends"] == {"ctransformers": {"context_size": 2048}}


def test_comments_and_trailing_commas_stay(workshop: Any) -> None:
    """JSON as people write it is read, and what they wrote around it is kept."""
    text = '{\n  // mine\n  "n_ctx": 2048, // enough\n  "my_note": [1, 2,], /* x */\n}\n'
    (change,) = workshop.plan(text).changes
    made = change.after.decode()
    for part in ("// mine", "// enough", "[1, 2,]", "/* x */"):
        assert made.count(part) == 1


def test_a_name_that_stands_twice_is_warned_of(workshop: Any) -> None:
    """The last one counts, as everywhere, and the plan says that there is another."""
    plan = workshop.plan('{\n"n_ctx": 1,\n"n_ctx": 2048\n}')
    assert workshop.value(plan.changes[0].after)["backends"]["ctransformers"] == {"context_size": 2048}
    assert any("n_ctx stands here more than once" in finding.message for finding in plan.findings)


@pytest.mark.parametrize(
    ("value", "read"), [("35", 35), (35.0, 35), (" 7 ", 7)], ids=["text", "decimal", "text with blanks"]
)
def test_numbers_in_disguise_are_read_and_said(workshop: Any, value: object, read: int) -> None:
    """What is clearly a number becomes one; a note names the key's line and what was there."""
    plan = workshop.plan({"n_gpu_layers": value})
    assert workshop.value(plan.changes[0].after)["backends"]["ctransformers"] == {"gpu_layers": read}
    (key,) = plan.account.keys
    assert (key.fate.value, key.line) == ("mapped", 2)
    assert "is read as" in key.why
    assert any(finding.line == 2 and "is read as" in finding.message for finding in plan.findings)


@pytest.mark.parametrize(
    "value", [True, 35.5, "many", -5, 10**40, [35], {"all": 35}, "", -1.5], ids=lambda value: repr(value)[:12]
)
def test_what_is_no_number_of_layers_is_kept_and_warned_of(workshop: Any, value: object) -> None:
    """Nothing is guessed: the value stands under extras as it was, with a warning that has its line."""
    plan = workshop.plan({"n_ctx": 512, "n_gpu_layers": value})
    result = workshop.value(plan.changes[0].after)
    assert result["extras"] == {"n_gpu_layers": value}
    assert type(result["extras"]["n_gpu_layers"]) is type(value)
    assert result["backends"] == {"ctransformers": {"context_size": 512}}
    (line,) = warned(plan).values()
    assert line == (4 if isinstance(value, dict) else 3)


def test_null_everywhere_is_harmless(workshop: Any) -> None:
    """A file full of nulls says nothing, and nothing of it is in the way afterwards."""
    names = [
        "model_path", "n_gpu_layers", "n_ctx", "n_batch", "n_threads", "use_mmap", "use_mlock", "type_k",
        "temperature", "stop", "seed", "backends", "preferred_backend", "fallback_enabled", "fallback_order",
        "version", "extras", "generation", "preferences", "ai_settings", "model_parameters",
    ]  # fmt: skip
    plan = workshop.plan(dict.fromkeys(names))
    assert plan.status == "migrate"
    assert sum(plan.account.counts().values()) == len(names)
    result = workshop.value(plan.changes[0].after)
    assert result["backends"]["ctransformers"] == {
        "gpu_layers": None, "context_size": None, "batch_size": None, "threads": None,
    }  # fmt: skip


@pytest.mark.parametrize("backends", [[], "ctransformers", 5, None, [{"ctransformers": {}}]])
def test_backends_that_are_no_object_are_kept(workshop: Any, backends: object) -> None:
    """Whatever stands in the place of the sections is set aside, and the sections are made."""
    result = after(workshop, {"n_ctx": 512, "backends": backends})
    assert result["backends"] == {"ctransformers": {"context_size": 512}}
    assert result["extras"] == {"backends": backends}


@pytest.mark.parametrize("section", [[], "on", 5, None, True])
def test_a_section_that_is_no_object_is_kept(workshop: Any, section: object) -> None:
    """One odd section keeps the others from nothing."""
    result = after(workshop, {"backends": {"llamafile": section, "ctransformers": {"threads": 4}}})
    assert result["backends"] == {"ctransformers": {"threads": 4}}
    assert result["extras"] == {"backends": {"llamafile": section}}


def test_unknown_keys_are_kept_at_any_depth(workshop: Any) -> None:
    """What nobody knows is kept as it was written, dots and all, and only the name is told."""
    unknown = {"mine": {"deep": [{"a": None}, 1.50]}, "with.dots": {"x.y": 1}, "": "no name", "ü": "ß"}
    plan = workshop.plan({"n_ctx": 512, **unknown})
    assert workshop.value(plan.changes[0].after)["extras"] == unknown
    assert sum(plan.account.counts().values()) == 5
    assert "no name" not in " ".join(finding.message for finding in plan.findings)


def test_extras_that_are_there_already_are_joined(workshop: Any) -> None:
    """A key that is called extras is the place for extras; a name that is taken gets a number."""
    source = {"n_ctx": 512, "extras": {"verbose": "mine", "own": 1}, "verbose": True}
    assert after(workshop, source)["extras"] == {"verbose": "mine", "own": 1, "verbose_2": True}
    odd = {"n_ctx": 512, "extras": 5, "verbose": True}
    assert after(workshop, odd)["extras"] == {"extras_2": 5, "verbose": True}


def test_two_spellings_of_one_backend_are_joined(workshop: Any) -> None:
    """Sections that turn out to be one backend's become one, and what differs is kept and warned of."""
    source = {
        "backends": {
            "llama-cpp-python": {"threads": 4, "use_mmap": True},
            "llama_cpp_python": {"threads": 8, "use_mlock": True, "use_mmap": True},
        }
    }
    plan = workshop.plan(source)
    result = workshop.value(plan.changes[0].after)
    assert result["backends"] == {"llamacpp": {"use_mlock": True, "threads": 8, "use_mmap": True}}
    assert result["extras"]["backends"]["llama-cpp-python"] == {"threads": 4}
    assert sum(plan.account.counts().values()) == 5


def test_flat_keys_beside_sections_give_way(workshop: Any) -> None:
    """A section's value counts more than a flat one; equal ones are one."""
    source = {
        "preferred_backend": "ctransformers",
        "n_ctx": 2048,
        "n_gpu_layers": 35,
        "n_batch": 256,
        "backends": {"ctransformers": {"context_size": 4096, "gpu_layers": 35}},
    }
    result = after(workshop, source)
    assert result["backends"] == {
        "ctransformers": {"context_size": 4096, "gpu_layers": 35, "batch_size": 256}
    }
    assert result["extras"] == {"n_ctx": 2048}


def test_names_of_llama_cpp_python_in_a_section_are_read(workshop: Any) -> None:
    """A section may be written with the names of the library itself."""
    section = {
        "n_ctx": 2048,
        "n_threads": 4,
        "flash_attn": True,
        "type_k": 8,
        "type_v": 8,
        "rope_freq_base": 1.0,
    }
    result = after(workshop, {"backends": {"llama_cpp_python": section}})
    assert result["backends"]["llamacpp"] == {
        "context_size": 2048, "threads": 4, "flash_attention": True, "kv_type": "q8_0",
    }  # fmt: skip
    assert result["extras"] == {"backends": {"llamacpp": {"rope_freq_base": 1.0}}}


def test_a_switch_that_forbids_the_gpu_holds_for_every_backend(workshop: Any) -> None:
    """Off means off: also for the backend that is tried next, and for a section that says on."""
    source = {"gpu_enabled": False, "backends": {"llamafile": {"gpu_enabled": True}}}
    plan = workshop.plan(source)
    result = workshop.value(plan.changes[0].after)
    names = ("llamafile", "ctransformers", "llamacpp", "transformers")
    assert result["backends"] == {name: {"gpu_enabled": False} for name in names}
    assert "backends.llamafile.gpu_enabled" in warned(plan)


def test_two_types_of_precision_are_not_left_to_contradict(workshop: Any) -> None:
    """Two names for the precision that differ are refused by transformers; the newer name counts."""
    section = {"dtype": "bfloat16", "torch_dtype": "float16"}
    result = after(workshop, {"backends": {"transformers": section}})
    assert result["backends"]["transformers"] == {"dtype": "bfloat16"}
    assert result["extras"]["backends"]["transformers"] == {"torch_dtype": "float16"}


def test_a_token_limit_that_means_no_limit_is_warned_of(workshop: Any) -> None:
    """There is no setting for that, and the default would be a limit: better said than guessed."""
    plan = workshop.plan({"n_ctx": 512, "max_tokens": -1})
    assert workshop.value(plan.changes[0].after)["extras"] == {"max_tokens": -1}
    assert warned(plan) == {"max_tokens": 3}


def test_settings_of_modelplug_in_an_old_file_are_checked(workshop: Any) -> None:
    """Keys that only modelplug has are kept where they are allowed, and set aside where they are not."""
    source = {
        "preferred_backend": "llamafile",
        "isolation": "sometimes",
        "deadlines": {"load": 60, "start": "soon"},
        "generation": {"top_k": 10, "temperature": 10**200},
        "fallback": "ask",
    }
    result = after(workshop, source)
    assert result["deadlines"] == {"load": 60}
    assert result["generation"] == {"top_k": 10}
    assert result["fallback"] == "ask"
    assert result["extras"] == {
        "isolation": "sometimes",
        "deadlines": {"start": "soon"},
        "generation": {"temperature": 10**200},
    }


def test_a_path_that_is_none_is_no_reason_to_fail(workshop: Any) -> None:
    """Odd paths are looked at by nobody."""
    for path in ("", "\0", "~nobody-of-that-name/x.gguf", "x" * 5000):
        assert workshop.plan({"n_ctx": 512, "model_path": path}).status == "migrate"


def test_passwords_are_not_told(workshop: Any) -> None:
    """What an unknown key holds is never in a message."""
    plan = workshop.plan({"n_ctx": 512, "api_key": "sk-secret", "email_config": {"password": "hunter2"}})
    told = " ".join([*map(str, plan.findings), *(key.why for key in plan.account.keys)])
    assert "sk-secret" not in told
    assert "hunter2" not in told
