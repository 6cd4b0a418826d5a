"""Whole installations: recognised by what is in them, and carried over with settings, models and runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.config import ConfigValidator
from modelplug.formats.model_info import ModelInfo
from modelplug.migration.detection import Wishes
from modelplug.migration.effects import HistoryHandler
from modelplug.migration.graph import MigrationGraph
from modelplug_migrators.gguf_loader.family import FAMILY, STEPS
from modelplug_migrators.gguf_loader.steps.home import HomeToModelplug
from modelplug_migrators.gguf_loader.windows_registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAT = {"model_path": "models/model.gguf", "n_gpu_layers": 35, "n_ctx": 2048}


@pytest.fixture
def home(workshop: Any, samples: Path) -> Path:
    """An installation as the guide describes it, and a bit more."""
    folder: Path = workshop.folder / ".gguf-loader"
    workshop.put(FLAT, ".gguf-loader/config.json")
    workshop.put(b"weights", ".gguf-loader/models/model.gguf")
    workshop.put("a line\n", ".gguf-loader/logs/gguf_loader_20250725.log")
    for sample, name in (
        ("s04_backend_set_1_1", "backend_config.json"),
        ("s05_application", "app_config.json"),
        ("s14_interface", "settings.json"),
        ("s11_preset_fast", "preset_fast.json"),
        ("s12_model_performance_cache", "model_performance_cache.json"),
        ("s13_model.gguf.meta", "models/model.gguf.meta.json"),
    ):
        shutil.copyfile(samples / f"{sample}.json", folder / name)
    workshop.models[str(folder / "models" / "model.gguf")] = ModelInfo(
        path=folder / "models" / "model.gguf",
        format="gguf",
        architecture="llama",
        quantization="Q4_0",
        parameters=13_000_000_000,
        size=7,
        fingerprint="sha256-sampled:abc",
        compatible_backends=("ctransformers", "llamacpp"),
    )
    return folder


def plan_of(workshop: Any, folder: Path, **options: str) -> Any:
    """The plan for a folder, given as a user gives it."""
    plan = workshop.planner.plan([folder], Wishes(options=options))
    (file,) = plan.files
    return file


def settings_of(workshop: Any, plan: Any) -> Any:
    """What modelplug's settings would hold."""
    (change,) = [change for change in plan.changes if change.path == workshop.paths.config_file]
    return json.loads(change.after)


def effect(plan: Any, kind: str) -> Any:
    """The payload of the plan's only effect of a kind."""
    (found,) = [entry for entry in plan.effects if entry.kind == kind]
    return found.payload


# Recognising ----------------------------------------------------------------------------------------------


def kind_of(workshop: Any, folder: Path) -> str:
    """`home`, or how many files in it are migrated by themselves."""
    files = workshop.planner.plan([folder]).files
    kinds = {file.kind for file in files}
    return "home" if kinds == {"home"} else f"{len(files)} files"


@pytest.mark.parametrize("name", [".gguf-loader", ".ggufloader", ".llm-toolkit", "gguf-loader", "GGUFLoader"])
def test_a_folder_of_a_known_name_needs_little(workshop: Any, name: str) -> None:
    """A configuration of this family is enough, and so are the program's logs."""
    workshop.put(FLAT, f"a/{name}/config.json")
    assert kind_of(workshop, workshop.folder / "a" / name) == "home"
    workshop.put("x", f"b/{name}/logs/app.log")
    assert kind_of(workshop, workshop.folder / "b" / name) == "home"


def test_a_working_directory_is_known_by_what_is_in_it(workshop: Any, samples: Path) -> None:
    """A folder of any name that looks like an installation is one."""
    workshop.put(FLAT, "work/config/config.json")
    workshop.put("x", "work/logs/backend.log")
    workshop.put("{}", "work/token.json")
    shutil.copyfile(
        samples / "s12_model_performance_cache.json",
        workshop.folder / "work" / "model_performance_cache.json",
    )
    assert kind_of(workshop, workshop.folder / "work") == "home"


def test_a_folder_with_configurations_is_no_installation(workshop: Any) -> None:
    """The files of somebody's project are migrated where they are."""
    workshop.put(FLAT, "project/config.json")
    workshop.put(FLAT, "project/other.json")
    assert kind_of(workshop, workshop.folder / "project") == "2 files"


def test_a_folder_of_a_known_name_with_other_content_is_none(workshop: Any) -> None:
    """A checkout of the program's source is no installation of it."""
    workshop.put("x = 1\n", "gguf-loader/models/model_loader.py")
    workshop.put({"name": "package", "version": "1.0.0"}, "gguf-loader/config.json")
    assert kind_of(workshop, workshop.folder / "gguf-loader") == "0 files"


def test_modelplugs_own_home_is_none(workshop: Any) -> None:
    """Whatever it is called, and whatever lies in it."""
    workshop.put({"version": 1, "preferred_backend": "llamacpp"}, "gguf-loader/config.json")
    workshop.put("x", "gguf-loader/logs/app.log")
    workshop.put(b"", "gguf-loader/history.sqlite3")
    assert kind_of(workshop, workshop.folder / "gguf-loader") != "home"


def test_a_backup_is_known_as_a_backup(workshop: Any, home: Path) -> None:
    """What the guide's commands made can be migrated from, and is not taken for a live installation."""
    backup = home.with_name(".gguf-loader-backup")
    shutil.copytree(home, backup)
    (backup / "current_setup.txt").write_text("Current models:\nmodel.gguf\n")
    plan = plan_of(workshop, backup)
    assert (plan.status, plan.kind) == ("migrate", "home")
    assert "no live installation" in plan.evidence[0]
    assert any("this is a backup" in finding.message for finding in plan.findings)
    assert settings_of(workshop, plan)["backends"]["llamacpp"]["gpu_layers"] == 35


def test_backups_are_not_among_the_usual_homes(tmp_path: Path) -> None:
    """The folders that are looked at unasked are those of installations only."""
    assert FAMILY.homes is not None
    usual = list(FAMILY.homes(tmp_path, {}))
    assert usual == [
        tmp_path / name for name in (".gguf-loader", ".ggufloader", ".llm-toolkit", ".config/gguf-loader")
    ]
    elsewhere = list(
        FAMILY.homes(tmp_path, {"XDG_CONFIG_HOME": str(tmp_path / "x"), "APPDATA": str(tmp_path / "a")})
    )
    assert elsewhere[3:] == [tmp_path / "x" / "gguf-loader", tmp_path / "a" / "GGUFLoader"]
    assert (
        list(FAMILY.homes(tmp_path, {"XDG_CONFIG_HOME": "relative"}))[3]
        == tmp_path / ".config" / "gguf-loader"
    )


# Settings -------------------------------------------------------------------------------------------------


def test_the_guides_home_gives_the_guides_settings(workshop: Any) -> None:
    """With nothing but the guide's files, the result is the guide's."""
    workshop.put(FLAT, ".gguf-loader/config.json")
    workshop.put(b"weights", ".gguf-loader/models/model.gguf")
    plan = plan_of(workshop, workshop.folder / ".gguf-loader")
    assert settings_of(workshop, plan) == {
        "version": 1,
        "preferred_backend": "ctransformers",
        "model_path": "models/model.gguf",
        "backends": {"ctransformers": {"gpu_layers": 35, "context_size": 2048}},
    }


def test_settings_of_all_files_are_joined(workshop: Any, home: Path) -> None:
    """Those that say most of a backend count most, and every key of every file is accounted for."""
    plan = plan_of(workshop, home)
    result = settings_of(workshop, plan)
    assert result["preferred_backend"] == "llamacpp"
    assert result["backends"]["llamacpp"]["gpu_layers"] == 35
    assert result["backends"]["llamacpp"]["kv_type"] == "q8_0"
    assert result["generation"]["temperature"] == 0.6
    assert result["fallback_order"] == ["llamacpp", "ctransformers"]
    assert result["extras"]["recent_models"] == ["/home/ada/models/a.gguf", "/home/ada/models/b.gguf"]
    told = [finding.message for finding in plan.findings]
    assert any(
        "generation.temperature in the settings was 0.5 and becomes 0.6" in message for message in told
    )
    assert any("config.json names no backend; its settings are for llamacpp" in message for message in told)
    path = workshop.put(result, "checked/config.json")
    assert ConfigValidator().validate_config(path).valid


def test_presets_stay_what_they_are(workshop: Any, home: Path) -> None:
    """A preset is no setting in force; it goes into the backup."""
    plan = plan_of(workshop, home)
    assert settings_of(workshop, plan)["backends"]["ctransformers"].get("gpu_layers") != 99
    assert home / "preset_fast.json" in plan.copies
    assert any("preset_fast.json is a preset" in finding.message for finding in plan.findings)


def test_passwords_are_not_carried_over(workshop: Any, home: Path) -> None:
    """What may be a password stays in the old file and the backup, and is in no note, effect or finding."""
    plan = plan_of(workshop, home)
    assert "email_config" not in settings_of(workshop, plan)["extras"]
    (fate,) = [key for key in plan.account.keys if key.key == "settings.json: email_config.password"]
    assert (fate.fate.value, fate.target) == ("dropped", "")
    shown = json.dumps(plan.to_dict())
    assert "correct horse" not in shown
    assert "correct horse" not in plan.notes["current_setup.txt"].decode()


def test_a_second_plan_finds_the_settings_there(workshop: Any, home: Path) -> None:
    """Once the settings are written, the same home changes no file."""
    (change,) = plan_of(workshop, home).changes
    change.path.parent.mkdir(parents=True)
    change.path.write_bytes(change.after)
    assert plan_of(workshop, home).changes == ()


def test_a_damaged_configuration_does_not_keep_the_rest_from_it(workshop: Any, home: Path) -> None:
    """It is left out with a warning, and the backup has it."""
    (home / "backend_config.json").write_bytes(b'{"backend_configs": NaN}')
    plan = plan_of(workshop, home)
    assert plan.status == "migrate"
    assert home / "backend_config.json" in plan.copies
    assert any("backend_config.json was left out" in finding.message for finding in plan.findings)
    assert settings_of(workshop, plan)["backends"]["llamacpp"]["gpu_layers"] == 35


def test_a_file_that_is_none_of_ours_is_told(workshop: Any, home: Path, monkeypatch: Any) -> None:
    """What is called like a configuration and is none, or can't be read, is in the backup and in a note."""
    workshop.put("no JSON at all", ".gguf-loader/backend_config.json")
    denied = workshop.put(FLAT, ".gguf-loader/preferences.json")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == denied:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    plan = plan_of(workshop, home)
    told = [finding.message for finding in plan.findings]
    assert "backend_config.json is only in the backup: nothing in it is a setting of these programs" in told
    assert "preferences.json is only in the backup: it can't be read (Permission denied)" in told
    assert settings_of(workshop, plan)["backends"]["llamacpp"]["gpu_layers"] == 35


@pytest.mark.parametrize(
    ("options", "words"),
    [({"backend": "vllm"}, "names no backend there is"), ({"copy_models": "maybe"}, "takes yes or no")],
)
def test_an_option_that_cannot_be_meant_is_refused(
    workshop: Any, home: Path, options: dict[str, str], words: str
) -> None:
    """Nothing is planned, and the error says what the option takes."""
    plan = plan_of(workshop, home, **options)
    assert (plan.status, plan.changes) == ("refused", ())
    assert words in plan.error["why"]


def test_the_options_reach_every_file(workshop: Any, home: Path) -> None:
    """The backend that the user names is the one for all flat files in the home."""
    result = settings_of(workshop, plan_of(workshop, home, backend="llamafile"))
    assert result["backends"]["llamafile"]["gpu_layers"] == 35


# Models and runs ------------------------------------------------------------------------------------------


def test_models_that_exist_get_a_name(workshop: Any, home: Path) -> None:
    """The path stays as it is, and what the model is was read from it again."""
    (model,) = effect(plan_of(workshop, home), "history")["models"]
    assert model == {
        "name": "Thirteen",
        "path": str(home / "models" / "model.gguf"),
        "fingerprint": "sha256-sampled:abc",
        "format": "gguf",
        "architecture": "llama",
        "quantization": "Q4_0",
        "parameters": 13_000_000_000,
        "size": 7,
    }


def test_missing_models_are_listed(workshop: Any, home: Path) -> None:
    """A path that leads nowhere is no model any more, and the plan says which file named it."""
    plan = plan_of(workshop, home)
    missing = [finding.message for finding in plan.findings if "is missing" in finding.message]
    assert missing == [
        'the model "/home/ada/models/a.gguf" is missing (app_config.json: recent_models)',
        'the model "/home/ada/models/b.gguf" is missing (app_config.json: recent_models)',
    ]


def test_earlier_runs_are_carried_as_claims(workshop: Any, home: Path) -> None:
    """What the older program measured enters the history, told from what modelplug measures."""
    runs = effect(plan_of(workshop, home), "history")["runs"]
    assert [(run["backend"], run["fingerprint"], run.get("load_seconds")) for run in runs] == [
        ("ctransformers", "sha256-sampled:abc", 4.2),
        ("llamacpp", "sha256-sampled:abc", None),
        ("ctransformers", "sha256-sampled:abc", 4.2),
    ]
    assert [run["success"] for run in runs] == [True, False, True]
    assert {run["time"] for run in runs} == {"2025-07-25T08:00:00.000+00:00"}
    assert runs[0]["claimed_tokens_per_second"] == 18.5
    assert "counted in words" in runs[0]["provenance"]


def test_a_model_that_is_gone_goes_by_its_old_hash(workshop: Any, home: Path) -> None:
    """Its runs are kept, under a name that no model can have here."""
    (home / "models" / "model.gguf").unlink()
    runs = effect(plan_of(workshop, home), "history")["runs"]
    assert runs[0]["fingerprint"] == "gguf-loader:0123abcd"
    assert runs[0]["model_path"] == str(home / "models" / "model.gguf")


def test_the_history_takes_the_effect(workshop: Any, home: Path) -> None:
    """The payload is what the core's handler understands."""
    from modelplug.history import HistoryStore

    store = HistoryStore(workshop.paths.history_file, paths=workshop.paths)
    HistoryHandler(store).apply(effect(plan_of(workshop, home), "history"), "t1")
    assert [model.name for model in store.models()] == ["Thirteen"]
    runs = store.runs(imported=True)
    assert len(runs) == 3
    assert all("gguf-loader" in json.loads(run.details)["provenance"] for run in runs)
    store.close()


STRANGE: dict[str, Any] = {
    "backend_name": "x",
    "load_time_ms": "fast",
    "last_updated": 1e300,
    "success_rate": None,
    "tokens_per_second": 10**200,
}


@pytest.mark.parametrize(
    ("models", "runs"),
    [
        ({}, {}),
        ([], 5),
        ({"a": None, "b": {"model_path": 5}}, {"a": {"k": None}, "b": 3}),
        ({}, {"a": {"k": {"backend_name": 5}}}),
        ({}, {"a": {"k": STRANGE}}),
    ],
)
def test_a_strange_cache_does_no_harm(workshop: Any, models: Any, runs: Any) -> None:
    """Whatever stands in it, the home is planned, and the history takes what is left."""
    from modelplug.history import HistoryStore

    workshop.put(FLAT, ".gguf-loader/config.json")
    content = {"model_profiles": models, "backend_profiles": runs}
    workshop.put(content, ".gguf-loader/model_performance_cache.json")
    plan = plan_of(workshop, workshop.folder / ".gguf-loader")
    assert plan.status == "migrate"
    store = HistoryStore(workshop.paths.history_file, paths=workshop.paths)
    for entry in plan.effects:
        HistoryHandler(store).apply(entry.payload, "t1")
    store.close()


def test_models_of_several_files_are_one(workshop: Any) -> None:
    """Shards, and folders with a configuration and weights, are one model each."""
    workshop.put(FLAT, ".gguf-loader/config.json")
    for name in (
        "gguf/big-00001-of-00002.gguf",
        "gguf/big-00002-of-00002.gguf",
        "safetensors/tiny/config.json",
        "safetensors/tiny/model-00001-of-00002.safetensors",
        "safetensors/tiny/model-00002-of-00002.safetensors",
        "pytorch/alone.pt",
        "gguf/readme.txt",
    ):
        workshop.put(b"x", f".gguf-loader/models/{name}")
    plan = plan_of(workshop, workshop.folder / ".gguf-loader")
    names = [model["name"] for model in effect(plan, "history")["models"]]
    assert names == ["big-00001-of-00002", "alone", "tiny"]
    assert [path.name for path in plan.references] == [
        "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "alone.pt", "config.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    ]  # fmt: skip


# The backup -----------------------------------------------------------------------------------------------


def test_the_backup_has_everything_but_the_models(workshop: Any, home: Path) -> None:
    """Configurations, logs, recovery and notes are copied; models are recorded where they are."""
    workshop.put("{}", ".gguf-loader/recovery/crash.json")
    workshop.put("{}", ".gguf-loader/cache/answers.json")
    workshop.put("{}", ".gguf-loader-backup/baseline_performance.json")
    plan = plan_of(workshop, home)
    copied = {path.relative_to(workshop.folder).as_posix() for path in plan.copies}
    assert copied >= {
        ".gguf-loader/config.json", ".gguf-loader/backend_config.json", ".gguf-loader/app_config.json",
        ".gguf-loader/settings.json", ".gguf-loader/model_performance_cache.json", ".gguf-loader/logs",
        ".gguf-loader/recovery", ".gguf-loader/cache/answers.json",
        ".gguf-loader/models/model.gguf.meta.json", ".gguf-loader-backup/baseline_performance.json",
    }  # fmt: skip
    assert plan.references == (home / "models" / "model.gguf",)
    assert ".gguf-loader/models/model.gguf" not in copied


def test_models_are_copied_if_asked(workshop: Any, home: Path) -> None:
    """Whoever has the room may have them in the backup."""
    plan = plan_of(workshop, home, copy_models="yes")
    assert home / "models" / "model.gguf" in plan.copies
    assert plan.references == ()


def test_secrets_are_backed_up_and_never_shown(workshop: Any, home: Path) -> None:
    """Keys and tokens are copied, and nothing of their content is anywhere in the plan."""
    for name in ("secure/storage.key", "mail_tokens.enc", "token.json", "email_config.json"):
        workshop.put('{"token": "hush-hush"}', f".gguf-loader/{name}")
    plan = plan_of(workshop, home)
    copied = {path.relative_to(home).as_posix() for path in plan.copies if home in path.parents}
    assert copied >= {"secure", "mail_tokens.enc", "token.json", "email_config.json"}
    assert "hush-hush" not in json.dumps(plan.to_dict())
    assert all(b"hush-hush" not in note for note in plan.notes.values())


def test_the_setup_is_noted_for_people(workshop: Any, home: Path) -> None:
    """The note has what the guide's commands put there: models, and settings."""
    note = plan_of(workshop, home).notes["current_setup.txt"].decode()
    assert note.startswith("Current models:\n")
    assert f"  {home / 'models' / 'model.gguf'}\n" in note
    assert "  /home/ada/models/a.gguf (missing)\n" in note
    assert 'Settings in config.json:\n  model_path = "models/model.gguf"\n  n_gpu_layers = 35\n' in note
    assert "system_prompt (not shown)" in note


def test_the_old_home_is_only_read(workshop: Any, home: Path) -> None:
    """Nothing in it is planned to change, and planning itself changes nothing."""
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    plan = plan_of(workshop, home)
    assert [change.path for change in plan.changes] == [workshop.paths.config_file]
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


# The registry ---------------------------------------------------------------------------------------------


def planned_with_registry(workshop: Any, folder: Path, registry: Registry | None) -> Any:
    """The plan for a home on a machine with this registry."""

    class WithRegistry(HomeToModelplug):
        __doc__ = HomeToModelplug.__doc__
        registry = staticmethod(lambda: given)

    given = registry
    steps = [WithRegistry if step is HomeToModelplug else step for step in STEPS]
    planner = workshop.planner
    planner.graph = MigrationGraph([FAMILY], steps)
    return planner.plan([folder]).files[0]


class FakeRegistry(Registry):
    """A registry that exports what it was given, or fails."""

    def __init__(self, exports: list[Any], error: Exception | None = None) -> None:
        self._exports = exports
        self._error = error

    def export(self) -> Iterator[Any]:
        """What it was given."""
        if self._error:
            raise self._error
        yield from self._exports


def test_the_registry_is_in_the_backup_and_comes_back(workshop: Any, home: Path) -> None:
    """Its export is a note of the backup, and an effect whose undoing brings it back."""
    from modelplug_migrators.gguf_loader.windows_registry import KEYS, Exported

    key = next(iter(KEYS))
    exported = Exported(key=key, name="registry.reg", data=b"content", values=1)
    plan = planned_with_registry(workshop, home, FakeRegistry([exported]))
    assert plan.notes["registry.reg"] == b"content"
    (found,) = [entry for entry in plan.effects if entry.kind == "windows-registry"]
    assert (found.family, found.payload["keys"][0]["key"]) == ("gguf-loader", key)


def test_no_registry_is_said(workshop: Any, home: Path) -> None:
    """On other systems, and where there is nothing in it, the plan says so."""
    told = [finding.message for finding in planned_with_registry(workshop, home, None).findings]
    assert "there is no Windows registry here, and nothing of it to keep" in told
    told = [finding.message for finding in planned_with_registry(workshop, home, FakeRegistry([])).findings]
    assert "the Windows registry holds nothing of the older programs" in told


def test_a_registry_that_refuses_is_warned_of(workshop: Any, home: Path) -> None:
    """The rest of the home is planned all the same."""
    from modelplug.errors import MigrationError

    plan = planned_with_registry(
        workshop, home, FakeRegistry([], MigrationError("no", why="Access is denied"))
    )
    assert plan.status == "migrate"
    assert any("Access is denied" in finding.message for finding in plan.findings)
