"""The promise to whoever comes with the guide in hand: its example becomes its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelplug.config import ConfigManager, ConfigValidator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXAMPLE = """\
{
  "model_path": "/path/to/model.gguf",
  "n_gpu_layers": 35,
  "n_ctx": 2048,
  "n_batch": 512,
  "use_mlock": true
}
"""

RESULT = {
    "preferred_backend": "ctransformers",
    "model_path": "/path/to/model.gguf",
    "backends": {
        "ctransformers": {"gpu_layers": 35, "context_size": 2048, "batch_size": 512, "use_mlock": True}
    },
}

TEXT = """\
{
  "version": 1,
  "preferred_backend": "ctransformers",
  "model_path": "/path/to/model.gguf",
  "backends": {
    "ctransformers": {
      "gpu_layers": 35,
      "context_size": 2048,
      "batch_size": 512,
      "use_mlock": true
    }
  }
}
"""

COMMENTED = """\
// Old configuration
{
  "model_path": "/path/to/model.gguf", // the 13B one
  /* as many as
     fit the card */
  "n_gpu_layers": 35,
  // longer prompts
  "n_ctx": 2048,
  "n_batch": 512,
  "use_mlock": true
}
"""


def test_the_example_becomes_the_result(workshop: Any) -> None:
    """The guide's old configuration becomes its new one: the same keys, the same values, and our version."""
    assert workshop.migrate(EXAMPLE) == {"version": 1, **RESULT}
    assert workshop.migrate(EXAMPLE, target="1") == RESULT


def test_the_text_is_laid_out_as_a_person_would(workshop: Any) -> None:
    """The result has the order and the indentation that the guide prints."""
    (change,) = workshop.plan(EXAMPLE).changes
    assert change.after.decode() == TEXT


def test_comments_stay_with_what_they_are_about(workshop: Any, read_value: Callable[[Any], Any]) -> None:
    """Comments move with their keys, as the guide's own listing has them."""
    plan = workshop.plan(COMMENTED)
    assert read_value(plan) == {"version": 1, **RESULT}
    text = plan.changes[0].after.decode()
    assert text.startswith("// Old configuration\n{")
    assert '"model_path": "/path/to/model.gguf", // the 13B one\n' in text
    assert text.index("fit the card */") < text.index('"gpu_layers": 35')
    assert text.index("// longer prompts") < text.index('"context_size": 2048')


def test_every_key_is_accounted_for(workshop: Any) -> None:
    """The account says of each key where it is now, and the counts add up to the keys there were."""
    account = workshop.plan(EXAMPLE).account
    assert [(key.key, key.fate.value, key.target) for key in account.keys] == [
        ("model_path", "kept", "model_path"),
        ("n_gpu_layers", "mapped", "backends.ctransformers.gpu_layers"),
        ("n_ctx", "mapped", "backends.ctransformers.context_size"),
        ("n_batch", "mapped", "backends.ctransformers.batch_size"),
        ("use_mlock", "mapped", "backends.ctransformers.use_mlock"),
    ]
    assert account.counts() == {"kept": 1, "mapped": 4, "extras": 0, "dropped": 0}
    assert account.added == ("version", "preferred_backend")


def test_the_plan_says_what_to_know(workshop: Any) -> None:
    """The default choice of the backend and a model that is missing are told, with the key's line."""
    told = [str(finding) for finding in workshop.plan(EXAMPLE).findings]
    assert told == [
        "preferred_backend becomes ctransformers: the choice of the guide, and no key says otherwise",
        'line 2: model_path: there is no model at "/path/to/model.gguf", or it can\'t be read',
    ]


def test_the_result_is_valid_and_in_force(workshop: Any) -> None:
    """The result passes the validator, and the settings can be read from it."""
    path = workshop.paths.config_file
    path.parent.mkdir()
    path.write_bytes(workshop.plan(EXAMPLE).changes[0].after)
    assert ConfigValidator().validate_config(path).valid
    settings = ConfigManager(workshop.paths, environ={}).settings
    assert settings.preferred_backend == "ctransformers"
    assert settings.backends["ctransformers"]["gpu_layers"] == 35


def test_a_second_time_changes_nothing(workshop: Any) -> None:
    """The result is recognised as current, and planned no further."""
    again = workshop.plan(workshop.plan(EXAMPLE).changes[0].after)
    assert (again.status, again.source, again.changes) == ("current", "modelplug", ())


@pytest.mark.parametrize("text", [EXAMPLE, COMMENTED])
def test_the_way_back_gives_the_old_text(workshop: Any, text: str) -> None:
    """Going all the way forth and back gives the text that was there, comments and all."""
    forth = workshop.plan(text).changes[0].after
    back = workshop.plan(forth, target="legacy").changes[0].after
    assert back.decode() == text


def test_the_guides_own_result_is_migrated_too(workshop: Any) -> None:
    """A file that was written by hand as the guide shows is only given its version, and keeps every byte."""
    text = TEXT.replace('  "version": 1,\n', "")
    (change,) = workshop.plan(text).changes
    assert change.after.decode() == TEXT


@pytest.mark.parametrize(
    "listing",
    [
        {
            "preferred_backend": "ctransformers",
            "backends": {"ctransformers": {"enabled": True, "gpu_layers": -1}},
        },
        {"preferred_backend": "transformers", "backends": {"transformers": {"device_map": "auto"}}},
        {"preferred_backend": "llamafile", "backends": {"llamafile": {"threads": 8, "use_mmap": True}}},
        {"fallback_enabled": True, "fallback_order": ["ctransformers", "transformers", "llamafile"]},
    ],
)
def test_the_guides_other_listings_keep_their_values(workshop: Any, listing: dict[str, Any]) -> None:
    """Every configuration that the guide prints keeps all its keys and values."""
    assert workshop.migrate(listing) == {"version": 1, **listing}


def test_a_folder_is_not_needed(workshop: Any, tmp_path: Path) -> None:
    """A file may lie anywhere and have any name that ends in `.json`."""
    plan = workshop.plan(EXAMPLE, name="elsewhere/my settings.json")
    assert plan.path == tmp_path / "elsewhere" / "my settings.json"
    assert plan.status == "migrate"
