"""The settings as a program sees them, and how it changes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.backends.types import BackendSettings
from modelplug.config import ConfigManager
from modelplug.errors import ConfigError
from modelplug.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(kw_only=True)
class EngineSettings(BackendSettings):
    """For the tests."""

    executable: str | None = None
    use_mmap: bool = True
    arguments: tuple[str, ...] = ()


CLASSES = {"engine": EngineSettings, "my-engine": EngineSettings}


def manager(paths: Paths, **environ: str) -> ConfigManager:
    """A manager that sees nothing but this environment."""
    return ConfigManager(paths, environ=environ, settings_classes=lambda: CLASSES)


def write(paths: Paths, text: str) -> Path:
    """Put a text where the settings are."""
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_bytes(text.encode())
    return paths.config_file


def test_without_a_file_the_defaults_are_in_force_and_nothing_is_written(paths: Paths) -> None:
    """Reading settings makes no files and no folders."""
    config = manager(paths)
    assert config.get("isolation") == "process"
    assert config.get("deadlines.load") == 600.0
    assert config.get("fallback") == "auto"
    assert config.get("nothing.of.the.kind", 7) == 7
    assert str(config.origin("isolation")) == "default"
    assert config.warnings == ()
    assert not paths.config.exists()


def test_the_calls_of_the_guide_work_as_printed(home: Path) -> None:
    """`ConfigManager()` without arguments, reset, set_backend, save."""
    config = ConfigManager()
    config.reset_to_defaults()
    config.set_backend("ctransformers")
    config.save()
    assert json.loads((home / "config.json").read_text()) == {
        "version": 1,
        "preferred_backend": "ctransformers",
    }


def test_each_source_overrides_the_one_below_it_and_is_named(paths: Paths) -> None:
    """Defaults, file, environment, command line: each value says where it comes from."""
    file = write(
        paths, '{\n "version": 1,\n "isolation": "inline",\n "deadlines": {"load": 5, "start": 6}\n}'
    )
    config = manager(paths, MODELPLUG_DEADLINES__LOAD="7").with_overrides(
        {"deadlines.start": 8, "seed": None}
    )
    assert config.settings.deadlines == attrs.evolve(
        config.settings.deadlines, load=7.0, start=8.0, close=5.0
    )
    origins = {".".join(path): str(origin) for path, _, origin in config.items()}
    assert origins["isolation"] == f"{file}:3"
    assert origins["deadlines.load"] == "environment MODELPLUG_DEADLINES__LOAD"
    assert origins["deadlines.start"] == "command line"
    assert origins["deadlines.close"] == "default"


def test_overrides_leave_the_object_they_come_from_alone(paths: Paths) -> None:
    """`with_overrides` gives a second view and changes nothing."""
    config = manager(paths)
    assert config.with_overrides({"isolation": "inline"}).get("isolation") == "inline"
    assert config.get("isolation") == "process"


ENVIRONMENT = [
    ("MODELPLUG_BACKEND", "engine", "preferred_backend", "engine"),
    ("MODELPLUG_PREFERRED_BACKEND", "engine", "preferred_backend", "engine"),
    ("MODELPLUG_MODEL", "35", "model_path", "35"),
    ("MODELPLUG_FALLBACK", "ask", "fallback", "ask"),
    ("MODELPLUG_FALLBACK_ENABLED", "no", "fallback", "never"),
    ("MODELPLUG_FALLBACK_ORDER", "a, b", "fallback_order", ["a", "b"]),
    ("MODELPLUG_FALLBACK_ORDER", '["a"]', "fallback_order", ["a"]),
    ("MODELPLUG_GENERATION__TEMPERATURE", "0.5", "generation.temperature", 0.5),
    ("MODELPLUG_DEADLINES__LOAD", "null", "deadlines.load", None),
    ("MODELPLUG_BACKENDS__ENGINE__GPU_LAYERS", "-1", "backends.engine.gpu_layers", -1),
    ("MODELPLUG_BACKENDS__ENGINE__EXECUTABLE", "35", "backends.engine.executable", "35"),
    ("MODELPLUG_BACKENDS__ENGINE__USE_MMAP", "off", "backends.engine.use_mmap", False),
    ("MODELPLUG_BACKENDS__MY_ENGINE__THREADS", "3", "backends.my-engine.threads", 3),
]


@pytest.mark.parametrize(("name", "text", "key", "value"), ENVIRONMENT)
def test_environment_variables_are_read_as_the_setting_wants_them(
    paths: Paths, name: str, text: str, key: str, value: object
) -> None:
    """Numbers, words, lists and text arrive in the type of the setting they are for."""
    assert manager(paths, **{name: text}).get(key) == value


def test_variables_that_are_no_settings_are_left_alone_and_misspelt_ones_reported(paths: Paths) -> None:
    """Only what looks like a setting's misspelling is worth a warning."""
    config = manager(paths, MODELPLUG_ISOLATON="inline", MODELPLUG_SHARED="/x", MODELPLUG_ISOLATION="")
    assert config.get("isolation") == "process"
    (warning,) = config.warnings
    assert "MODELPLUG_ISOLATON" in warning
    assert "MODELPLUG_ISOLATION?" in warning


POLICIES = [
    ({}, {}, "auto"),
    ({"fallback_enabled": False}, {}, "never"),
    ({"fallback_enabled": True, "fallback": "ask"}, {}, "ask"),
    ({"fallback_enabled": False, "fallback": "auto"}, {}, "never"),
    ({"fallback_enabled": False}, {"fallback": "auto"}, "auto"),
    ({"fallback": "auto"}, {"fallback_enabled": False}, "never"),
    ({"fallback": "never"}, {"fallback_enabled": True}, "auto"),
]


@pytest.mark.parametrize(("file", "overrides", "policy"), POLICIES)
def test_the_two_names_of_the_fallback_policy_agree(
    paths: Paths, file: dict[str, object], overrides: dict[str, object], policy: str
) -> None:
    """The strongest source decides under either name, and both names then say the same."""
    write(paths, json.dumps(file))
    config = manager(paths).with_overrides(overrides)
    assert config.get("fallback") == policy
    assert config.get("fallback_enabled") is (policy != "never")
    assert config.settings.fallback == policy


@pytest.mark.parametrize(
    "before", [{}, {"fallback_enabled": False}, {"fallback": "never"}, {"fallback": "ask"}]
)
@pytest.mark.parametrize(
    ("key", "value", "policy"),
    [
        ("fallback", "auto", "auto"),
        ("fallback", "never", "never"),
        ("fallback_enabled", False, "never"),
    ],
)
def test_setting_the_policy_under_one_name_is_not_undone_by_the_other(
    paths: Paths, before: dict[str, object], key: str, value: object, policy: str
) -> None:
    """What was set last counts, whichever of the two names the file held before."""
    write(paths, json.dumps(before))
    config = manager(paths)
    config.set(key, value)
    assert config.get("fallback") == policy
    config.save()
    assert manager(paths).get("fallback") == policy


def test_enabling_fallback_keeps_the_refinement_that_agrees(paths: Paths) -> None:
    """`ask` is a way of being enabled; `never` is not, and goes."""
    for before, policy in (("ask", "ask"), ("never", "auto")):
        write(paths, json.dumps({"fallback": before}))
        config = manager(paths)
        config.set("fallback_enabled", True)
        config.save()
        assert manager(paths).get("fallback") == policy


def test_a_backends_section_arrives_as_its_class_with_overrides_applied(paths: Paths) -> None:
    """File, environment and command line meet in one validated object."""
    write(paths, '{"backends": {"my-engine": {"gpu_layers": 1, "threads": 2, "unheard_of": 3}}}')
    config = manager(
        paths, MODELPLUG_BACKENDS__MY_ENGINE__THREADS="4", MODELPLUG_BACKENDS__MY_ENGINE__USE_MMAP="no"
    )
    config = config.with_overrides({"backends.my-engine.arguments": ["-v"]})
    found = config.backend_settings("my-engine", EngineSettings)
    assert found == EngineSettings(gpu_layers=1, threads=4, use_mmap=False, arguments=("-v",))


def test_a_wrong_value_in_a_section_is_an_error_that_names_it(paths: Paths) -> None:
    """A known name with a value of the wrong type is not passed over."""
    write(paths, '{"backends": {"engine": {"gpu_layers": "35"}}}')
    with pytest.raises(ConfigError, match=r"backends\.engine\.gpu_layers"):
        manager(paths).backend_settings("engine", EngineSettings)


def test_an_unknown_name_given_on_purpose_is_an_error(paths: Paths) -> None:
    """A name that the environment or the command line gives, and the backend does not know, is refused."""
    config = manager(paths).with_overrides({"backends.engine.gpu_layer": 3})
    with pytest.raises(ConfigError, match="did you mean gpu_layers"):
        config.backend_settings("engine", EngineSettings)
    config = manager(paths, MODELPLUG_BACKENDS__ENGINE__GPU_LAYER="3")
    with pytest.raises(ConfigError, match="did you mean gpu_layers"):
        config.backend_settings("engine", EngineSettings)


def test_unknown_names_do_not_keep_the_known_ones_from_being_used(paths: Paths) -> None:
    """Names that this program does not know are kept in the file and left out of the settings."""
    write(
        paths,
        '{"backend.current": "auto", "mine": {}, "deadlines": {"load": 3, "x.y": 1}, "isolation": "inline"}',
    )
    config = manager(paths)
    assert config.settings.deadlines.load == 3
    assert config.settings.isolation == "inline"
    assert len(config.warnings) == 3
    assert config.get(("backend.current",)) == "auto"
    config.set("isolation", "process")
    config.save()
    assert '"backend.current": "auto"' in paths.config_file.read_text()


def test_a_wrong_value_is_an_error_when_it_is_asked_for_and_only_then(paths: Paths) -> None:
    """One wrong value does not make the others useless."""
    write(paths, '{"isolation": "inlin", "deadlines": {"load": 3}}')
    config = manager(paths)
    assert config.get("deadlines.load") == 3
    with pytest.raises(ConfigError, match='did you mean "inline"'):
        config.get("isolation")
    with pytest.raises(ConfigError, match="isolation"):
        _ = config.settings


REFUSED = [
    ("isolation", "inlin", "inline"),
    ("preferred_backends", "x", "preferred_backend"),
    ("deadlines.load", "3", "without quotes"),
    ("deadlines.loads", 3, "load"),
    ("fallback_order", "a", "a list of texts"),
    ("version", 2, "at most 1"),
    ("backends.engine.gpu_layer", 3, "gpu_layers"),
    ("backends.engine", {"threads": "4"}, "threads"),
    ("backends", {"engine": {"threads": "4"}}, "threads"),
    ("a..b", 1, "empty"),
    ("generation.top_p", 1.5, "at most 1"),
]


@pytest.mark.parametrize(("key", "value", "hint"), REFUSED)
def test_wrong_settings_are_refused_before_anything_is_written(
    paths: Paths, key: str, value: object, hint: str
) -> None:
    """`set` says what is allowed, and the file stays unwritten."""
    config = manager(paths)
    with pytest.raises(ConfigError, match=hint):
        config.set(key, value)
    config.save()
    assert not paths.config_file.exists()


def test_changes_show_at_once_and_reach_the_file_with_save(paths: Paths) -> None:
    """A change is in force before it is saved, and `load` forgets it."""
    config = manager(paths)
    config.set("isolation", "inline")
    assert config.get("isolation") == "inline"
    assert config.origin("isolation").layer == "pending"
    config.load()
    assert config.get("isolation") == "process"
    config.set("isolation", "inline")
    assert config.save().changed
    assert manager(paths).get("isolation") == "inline"
    assert not config.save().changed


def test_unset_returns_a_setting_to_its_default(paths: Paths) -> None:
    """`unset` says whether there was anything, and takes out that entry only."""
    write(paths, '{\n  "isolation": "inline", // why\n  "mine": 1\n}\n')
    config = manager(paths)
    assert config.unset("isolation")
    assert not config.unset("isolation")
    assert config.get("isolation") == "process"
    config.save()
    assert paths.config_file.read_text() == '{\n  // why\n  "mine": 1\n}\n'


def test_everything_else_in_the_file_survives_a_change_to_the_byte(paths: Paths) -> None:
    """Comments, order, unknown keys, line ends, a byte-order mark: all as they were."""
    before = (
        '\ufeff// mine\r\n{\r\n\t"mine": {"b": 1, "a": [ ]}, /* keep */\r\n\t"isolation": "process",\r\n'
        '\t"backends": {\r\n\t\t"engine": {"gpu_layers": 3}, // tuned\r\n\t},\r\n}\r\n'
    )
    write(paths, before)
    config = manager(paths)
    config.set("isolation", "inline")
    config.set("backends.engine.gpu_layers", 4)
    config.save()
    after = before.replace('"process"', '"inline"').replace("3}", "4}")
    assert paths.config_file.read_bytes() == after.encode()


def test_a_file_in_utf_16_is_read_and_stays_one(paths: Paths) -> None:
    """Windows tools write UTF-16; the file keeps its encoding."""
    paths.config.mkdir(parents=True)
    paths.config_file.write_bytes('{"isolation": "inline"}'.encode("utf-16"))
    config = manager(paths)
    assert config.get("isolation") == "inline"
    config.set("isolation", "process")
    config.save()
    assert paths.config_file.read_bytes().decode("utf-16") == '{"isolation": "process"}'


VALUES: dict[str, object] = {
    "isolation": "inline",
    "model_path": "m",
    "deadlines.load": 3,
    "fallback": "ask",
    "fallback_enabled": False,
    "backends.engine.threads": 2,
    "backends.x.y": [1],
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["isolation", "model_path", "deadlines.load", "backends.engine.threads", "backends.x.y"]
            ),
            st.booleans(),
        ),
        max_size=8,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_in_force_before_saving_is_what_a_new_reader_sees_after(
    paths: Paths, changes: list[tuple[str, bool]]
) -> None:
    """Any sequence of changes looks the same before and after it is written."""
    config = manager(paths)
    for key, remove in changes:
        if remove:
            config.unset(key)
        else:
            config.set(key, VALUES[key])
    before = {key: config.get(key) for key in VALUES}
    config.save()
    assert {key: manager(paths).get(key) for key in VALUES} == before


def test_the_advice_against_a_wrong_variable_is_about_the_variable(tmp_path: Path) -> None:
    """Setting the key in the file would change nothing: the environment overrides it."""
    paths = Paths.from_environment({"MODELPLUG_HOME": str(tmp_path)})
    config = ConfigManager(paths, environ={"MODELPLUG_ISOLATION": "inlin"})

    with pytest.raises(ConfigError) as caught:
        _ = config.settings

    assert caught.value.advice == "correct or unset the environment variable MODELPLUG_ISOLATION"
