"""Where other programs keep models, laid out as on each system, and how the models get their names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug.backends.resolve import resolve_model
from modelplug.formats import inspect
from modelplug.history import HistoryStore
from modelplug.history.places import PLACES, Found, Machine, find_everywhere
from modelplug.history.places.machine import models_in, name_of
from modelplug.history.scan import Scanned, scan
from modelplug.runtime import Runtime

Gguf = Callable[..., Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def machine(home: Path, platform: str = "linux", **environ: str) -> Machine:
    """A user's home on some system, whose absolute paths begin in a folder of the test's."""
    return Machine(home=home, environ=environ, platform=platform, root=home / "root")


def names(where: Machine) -> dict[str, str]:
    """Name -> the program that has it, of everything that was found."""
    return {found.name: found.source for found in find_everywhere(where)}


def scanned(where: Machine, store: HistoryStore, *, add: bool = True) -> list[Scanned]:
    """What scanning makes of it."""
    return list(scan(find_everywhere(where), store, inspect, add=add))


# The Hugging Face cache -----------------------------------------------------------------------------------


def hub_file(
    hub: Path, repository: str, file: str, write: Gguf, *, revision: str = COMMIT, **rest: str
) -> Path:
    """A file in the cache: bytes in `blobs`, a link in the snapshot, the revision in `refs/main`."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    blob = write(folder / "blobs" / f"blob-{file}", **rest)
    link = folder / "snapshots" / revision / file
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    return link


@pytest.mark.parametrize(
    ("environ", "hub"),
    [
        ({}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "~/xdg"}, "xdg/huggingface/hub"),
        ({"HF_HOME": "~/hf"}, "hf/hub"),
        ({"HF_HUB_CACHE": "~/cache"}, "cache"),
        ({"HUGGINGFACE_HUB_CACHE": "~/old"}, "old"),
    ],
)
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_hugging_face_cache_is_where_its_variables_say(
    tmp_path: Path, gguf: Gguf, environ: dict[str, str], hub: str, platform: str
) -> None:
    """On every system, a GGUF file of a snapshot is found under its own name."""
    path = hub_file(tmp_path / hub, "org/Some-GGUF", "some-q4_0.gguf", gguf)
    (found,) = find_everywhere(machine(tmp_path, platform, **environ))

    assert found == Found(path=path, name="some-q4_0", source="huggingface")
    assert inspect(found.path).architecture == "llama"


def test_a_repository_of_the_cache_that_is_a_folder_is_one_model(tmp_path: Path) -> None:
    """Configuration and weights together are named after the repository."""
    snapshot = tmp_path / f".cache/huggingface/hub/models--org--Tiny-Llama/snapshots/{COMMIT}"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    (snapshot / "model.safetensors").write_bytes(b"")
    (found,) = find_everywhere(machine(tmp_path))

    assert (found.name, found.path) == ("Tiny-Llama", snapshot)


def test_the_revision_of_the_main_branch_is_taken(tmp_path: Path, gguf: Gguf) -> None:
    """Older revisions in the cache are left out; without a branch, the newest one counts."""
    hub = tmp_path / ".cache/huggingface/hub"
    old = hub_file(hub, "org/m", "old.gguf", gguf, revision="a" * 40)
    new = hub_file(hub, "org/m", "new.gguf", gguf, revision="b" * 40)
    os.utime(old.parent, (1, 1))

    assert list(names(machine(tmp_path))) == ["new"]
    (new.parents[2] / "refs" / "main").unlink()
    assert list(names(machine(tmp_path))) == ["new"]


# Ollama ---------------------------------------------------------------------------------------------------


def ollama_model(
    models: Path, name: str, blob: Path | None, *, kind: str = "model", mark: str = "-", digest: str = ""
) -> str:
    """A manifest of Ollama's, and the blob it names; gives the blob's digest."""
    digest = digest or (f"{len(name):x}" * 64)[:64]
    manifest = models / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}", "size": 1},
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'e' * 64}", "size": 1},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    if blob is not None:
        target = models / "blobs" / f"sha256{mark}{digest}"
        target.parent.mkdir(exist_ok=True)
        shutil.move(blob, target)
    return digest


def test_ollamas_names_lead_to_its_blobs(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """Names come from the manifests, weights from the digest, however the blob's name is spelled."""
    models = tmp_path / ".ollama/models"
    library = "registry.ollama.ai/library"
    digest = ollama_model(models, f"{library}/llama3/8b", gguf(tmp_path / "a", name="a"))
    ollama_model(models, f"{library}/llama3/latest", None, digest=digest)
    ollama_model(models, f"{library}/old/1b", gguf(tmp_path / "b", name="b"), mark=":", digest="b" * 64)
    ollama_model(models, "hf.co/somebody/Fine-GGUF/Q4_K_M", gguf(tmp_path / "c", name="c"), digest="c" * 64)
    results = {result.name: result.path.name for result in scanned(machine(tmp_path), store)}

    assert results == {
        "Fine-GGUF:Q4_K_M": f"sha256-{'c' * 64}",
        "llama3:8b": f"sha256-{digest}",
        "llama3": f"sha256-{digest}",
        "old:1b": f"sha256:{'b' * 64}",
    }
    assert store.find_model("llama3:8b").source == "ollama"  # type: ignore[union-attr]


def test_what_ollama_has_only_in_part_is_told(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """Unfinished downloads, damaged manifests, and tensors one by one are no models."""
    models = tmp_path / ".ollama/models"
    library = "registry.ollama.ai/library"
    ollama_model(models, f"{library}/partial/1b", None)
    ollama_model(models, f"{library}/tensors/2b", None, kind="tensor")
    (models / "manifests" / library / "broken").mkdir()
    (models / "manifests" / library / "broken" / "3b").write_text("{")
    hostile = models / "manifests" / library / "hostile" / "4b"
    hostile.parent.mkdir()
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../secret"}
    hostile.write_text(json.dumps({"layers": [layer]}))
    troubles = {result.trouble for result in scanned(machine(tmp_path), store)}

    assert troubles == {
        "broken:3b: its manifest names no weights",
        "hostile:4b: its manifest names no weights",
        "partial:1b: its weights are not there",
        "tensors:2b: Ollama keeps it tensor by tensor, and not as one file",
    }
    assert store.models() == []


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {}, ".ollama/models"),
        ("linux", {}, "root/usr/share/ollama/.ollama/models"),
        ("darwin", {}, ".ollama/models"),
        ("win32", {}, ".ollama/models"),
        ("linux", {"OLLAMA_MODELS": "~/big/ollama"}, "big/ollama"),
    ],
)
def test_ollamas_folders(
    tmp_path: Path, gguf: Gguf, platform: str, environ: dict[str, str], folder: str
) -> None:
    """The user's, the service's on Linux, and what the variable names."""
    ollama_model(tmp_path / folder, "registry.ollama.ai/library/m/1b", gguf(tmp_path / "m.gguf"))

    assert names(machine(tmp_path, platform, **environ)) == {"m:1b": "ollama"}


# The others -----------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any) -> None:
    """A settings file of another program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_lm_studio(tmp_path: Path, gguf: Gguf, platform: str) -> None:
    """Its homes, the one its pointer names, and the folder chosen in its settings; the eyes are no model."""
    gguf(tmp_path / ".lmstudio/models/org/m/m-Q4_K_M.gguf", name="1")
    gguf(tmp_path / ".lmstudio/models/org/m/mmproj-m.gguf", name="2", architecture="clip", kind="mmproj")
    gguf(tmp_path / ".cache/lm-studio/models/org/old/old.gguf", name="3")
    gguf(tmp_path / "elsewhere/models/org/new/new.gguf", name="4")
    gguf(tmp_path / "big/org/chosen/chosen.gguf", name="5")
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path / 'elsewhere'}\n")
    write_json(tmp_path / "elsewhere/settings.json", {"downloadsFolder": str(tmp_path / "big")})
    found = {f.name for f in find_everywhere(machine(tmp_path, platform)) if f.source == "lmstudio"}

    assert found == {"m-Q4_K_M", "mmproj-m", "old", "new", "chosen"}


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {}, ".local/share/nomic.ai/GPT4All"),
        ("linux", {"XDG_DATA_HOME": "~/data"}, "data/nomic.ai/GPT4All"),
        ("darwin", {}, "Library/Application Support/nomic.ai/GPT4All"),
        ("win32", {}, "AppData/Local/nomic.ai/GPT4All"),
        ("win32", {"LOCALAPPDATA": "~/Local"}, "Local/nomic.ai/GPT4All"),
        ("linux", {}, ".cache/gpt4all"),
    ],
)
def test_gpt4all(tmp_path: Path, gguf: Gguf, platform: str, environ: dict[str, str], folder: str) -> None:
    """The program's usual folder on each system, and that of its Python package."""
    gguf(tmp_path / folder / "orca-mini.gguf")

    assert names(machine(tmp_path, platform, **environ)) == {"orca-mini": "gpt4all"}


@pytest.mark.parametrize(
    ("platform", "settings"),
    [
        ("linux", ".config/nomic.ai/GPT4All.ini"),
        ("darwin", ".config/nomic.ai/GPT4All.ini"),
        ("win32", "AppData/Roaming/nomic.ai/GPT4All.ini"),
    ],
)
def test_gpt4alls_settings_may_name_another_folder(
    tmp_path: Path, gguf: Gguf, platform: str, settings: str
) -> None:
    """As UTF-8, or with the escapes that Qt used to write."""
    gguf(tmp_path / "für\\mich" / "a.gguf")
    (tmp_path / settings).parent.mkdir(parents=True)
    folder = str(tmp_path / "für\\mich").replace("\\", "\\\\")
    for spelled in (folder, folder.replace("ü", "\\xfc")):
        (tmp_path / settings).write_text(f"[General]\nfontSize=Small\nmodelPath={spelled}/\n", "utf-8")

        assert names(machine(tmp_path, platform)) == {"a": "gpt4all"}


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {}, ".cache/llama.cpp"),
        ("linux", {"XDG_CACHE_HOME": "~/c"}, "c/llama.cpp"),
        ("darwin", {}, "Library/Caches/llama.cpp"),
        ("win32", {}, "AppData/Local/llama.cpp"),
        ("linux", {"LLAMA_CACHE": "~/lc"}, "lc"),
    ],
)
def test_llama_cpps_cache(
    tmp_path: Path, gguf: Gguf, platform: str, environ: dict[str, str], folder: str
) -> None:
    """Names lose what the cache puts before them; later shards are left out; both layouts are known."""
    cache = tmp_path / folder
    gguf(cache / "ggml-org_tiny-GGUF_tiny-Q8_0.gguf", name="1")
    gguf(cache / "plain.gguf", name="2")
    gguf(cache / "org_split_big-00001-of-00002.gguf", name="3")
    gguf(cache / "org_split_big-00002-of-00002.gguf", name="4")
    (cache / "manifest=ggml-org=tiny-GGUF=latest.json").write_text("{}")
    (cache / "manifest=org=split=latest.json").write_text("{}")
    hub_file(cache, "org/new-GGUF", "new.gguf", gguf, name="5")
    found = {
        f.name for f in find_everywhere(machine(tmp_path, platform, **environ)) if f.source == "llamacpp"
    }

    assert found == {"tiny-Q8_0", "plain", "big", "new"}


def test_gguf_loaders_folders(tmp_path: Path, gguf: Gguf) -> None:
    """The homes of all its versions, and the folders that their settings name."""
    for number, home in enumerate((".gguf-loader", ".ggufloader", ".llm-toolkit", ".config/gguf-loader")):
        gguf(tmp_path / home / "models" / f"m{number}.gguf", name=home)
    gguf(tmp_path / "mine/v1.gguf", name="v1")
    gguf(tmp_path / "other/v2.gguf", name="v2")
    write_json(tmp_path / ".gguf-loader/config.json", {"default_model_dir": "~/mine"})
    write_json(tmp_path / ".llm-toolkit/config.json", {"paths": {"model_directory": str(tmp_path / "other")}})

    assert names(machine(tmp_path)) == dict.fromkeys(["m0", "m1", "m2", "m3", "v1", "v2"], "gguf-loader")


def test_nothing_is_found_in_an_empty_home(tmp_path: Path) -> None:
    """Folders that are not there are no trouble, and every program says which they are."""
    assert names(machine(tmp_path)) == {}
    assert all(place.folders(machine(tmp_path)) for place in PLACES)


def test_nothing_is_copied_or_changed(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """Scanning leaves every file of every program as it is."""
    home = tmp_path / "user"
    gguf(home / ".lmstudio/models/org/m/a.gguf", name="a")
    hub_file(home / ".cache/huggingface/hub", "org/b", "b.gguf", gguf, name="b")
    ollama_model(home / ".ollama/models", "registry.ollama.ai/library/c/1b", gguf(tmp_path / "c", name="c"))
    before = {path: path.lstat() for path in home.rglob("*")}
    scanned(machine(home), store)

    after = {path: path.lstat() for path in home.rglob("*")}
    assert before.keys() == after.keys()
    assert all(before[path].st_mtime_ns == after[path].st_mtime_ns for path in before)


# Names and moves ------------------------------------------------------------------------------------------


def test_every_model_then_runs_by_its_name(
    tmp_path: Path, gguf: Gguf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What scanning has named is what `modelplug run NAME` resolves, in place."""
    home = tmp_path / "user"
    paths = {
        "a": gguf(home / ".lmstudio/models/org/m/a.gguf", name="a"),
        "b": hub_file(home / ".cache/huggingface/hub", "org/b", "b.gguf", gguf, name="b"),
        "d": gguf(home / ".cache/llama.cpp/d.gguf", name="d"),
        "e": gguf(home / ".local/share/nomic.ai/GPT4All/e.gguf", name="e"),
        "f": gguf(home / ".gguf-loader/models/f.gguf", name="f"),
    }
    digest = ollama_model(home / ".ollama/models", "registry.ollama.ai/library/c/1b", gguf(tmp_path / "c"))
    paths["c:1b"] = home / f".ollama/models/blobs/sha256-{digest}"
    runtime = Runtime()
    scanned(machine(home), runtime.history)

    assert {name: resolve_model(name, runtime) for name in paths} == paths


def test_scanning_twice_changes_nothing(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """Names that are there stay, and are told again."""
    gguf(tmp_path / ".lmstudio/models/org/m/a.gguf", name="a")
    first = scanned(machine(tmp_path), store)
    second = scanned(machine(tmp_path), store)

    assert [(result.name, result.change) for result in first] == [("a", "added")]
    assert [(result.name, result.change) for result in second] == [("a", "")]


def test_a_file_that_two_programs_share_gets_one_name(
    tmp_path: Path, gguf: Gguf, store: HistoryStore
) -> None:
    """A link from one program's folder into another's is the same model; another copy is not."""
    real = hub_file(tmp_path / ".cache/huggingface/hub", "org/m", "m.gguf", gguf)
    link = tmp_path / ".lmstudio/models/org/m/linked.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    shutil.copy(real, tmp_path / ".lmstudio/models/org/m/m.gguf")

    assert sorted(result.name for result in scanned(machine(tmp_path), store)) == ["linked", "m"]
    assert sorted(model.name for model in store.models()) == ["linked", "m"]


def test_names_of_the_user_are_left_alone(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """A path that has a name keeps it, taken names get a number, and odd file names become names."""
    known = gguf(tmp_path / ".lmstudio/models/org/m/known.gguf", name="k")
    gguf(tmp_path / ".lmstudio/models/org/m/taken.gguf", name="t")
    gguf(tmp_path / ".lmstudio/models/org/m/-odd\nname.gguf", name="o")
    gguf(tmp_path / ".lmstudio/models/org/m/demo.gguf", name="d")
    store.add_model("mine", known)
    store.add_model("taken", tmp_path / "other.gguf")
    scanned(machine(tmp_path), store)

    assert {model.name for model in store.models()} == {"mine", "taken", "taken-2", "odd-name", "demo-2"}


def test_a_moved_model_keeps_its_name_and_its_history(
    tmp_path: Path, gguf: Gguf, store: HistoryStore
) -> None:
    """It is known again by its content, wherever it went and whatever it is called now."""
    old = gguf(tmp_path / "old/place.gguf", name="the one")
    info = inspect(old)
    store.add_model("mine", old, info)
    new = tmp_path / ".lmstudio/models/org/renamed/renamed.gguf"
    new.parent.mkdir(parents=True)
    shutil.move(old, new)
    (result,) = scanned(machine(tmp_path), store)

    assert (result.name, result.change, result.before) == ("mine", "moved", old)
    assert [(model.name, model.path) for model in store.models()] == [("mine", new)]
    assert inspect(new).fingerprint == info.fingerprint


def test_a_copy_does_not_take_the_name_from_its_original(
    tmp_path: Path, gguf: Gguf, store: HistoryStore
) -> None:
    """As long as the path of a name leads somewhere, it stays."""
    original = gguf(tmp_path / "kept.gguf", name="x")
    store.add_model("mine", original, inspect(original))
    copy = tmp_path / ".lmstudio/models/org/m/copy.gguf"
    copy.parent.mkdir(parents=True)
    shutil.copy(original, copy)
    scanned(machine(tmp_path), store)

    assert {model.name: model.path for model in store.models()} == {"mine": original, "copy": copy}


def test_a_later_version_of_a_model_takes_its_place(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """When a program has replaced a model by another one, the name leads to the new one."""
    hub = tmp_path / ".cache/huggingface/hub"
    old = hub_file(hub, "org/m", "m.gguf", gguf, revision="a" * 40, name="v1")
    scanned(machine(tmp_path), store)
    shutil.rmtree(old.parents[2])
    new = hub_file(hub, "org/m", "m.gguf", gguf, revision="b" * 40, name="v2")
    scanned(machine(tmp_path), store)

    assert {model.name: model.path for model in store.models()} == {"m": new}


def test_without_adding_nothing_is_named(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """What is there is only told."""
    gguf(tmp_path / ".lmstudio/models/org/m/a.gguf")
    (result,) = scanned(machine(tmp_path), store, add=False)

    assert (result.name, result.change, result.info is not None) == ("", "", True)
    assert store.models() == []


def test_what_is_no_model_is_told_with_the_reason(tmp_path: Path, gguf: Gguf, store: HistoryStore) -> None:
    """Damaged files, and parts of models that can't run by themselves, get no names."""
    folder = tmp_path / ".lmstudio/models/org/m"
    gguf(folder / "adapter.gguf", kind="adapter")
    gguf(folder / "cut.gguf").write_bytes(b"GGUF")
    results = scanned(machine(tmp_path), store)

    assert len(results) == 2
    assert all(result.trouble and not result.name for result in results)
    assert store.models() == []


def test_folders_that_lead_back_to_themselves_end(tmp_path: Path, gguf: Gguf) -> None:
    """Links to folders are followed, and no folder is entered twice."""
    gguf(tmp_path / "a" / "m.gguf")
    (tmp_path / "a" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    gguf(tmp_path / "b" / "n.gguf")

    assert [path.name for path in models_in(tmp_path / "a")] == ["m.gguf", "n.gguf"]


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.gguf", "a"), ("a-00001-of-00003.gguf", "a"), (" .gguf", "model"), ("-x.gguf", "x"), ("a.b", "a.b")],
)
def test_names_come_from_files(file: str, name: str) -> None:
    """Without the ending, the number of the shard, and what would be taken for an option."""
    assert name_of(Path(file)) == name
