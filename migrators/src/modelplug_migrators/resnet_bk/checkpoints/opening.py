"""Opens checkpoints before 1.0: files that `torch.save` wrote, safetensors files, and folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import MigrationError, ModelFileError
from modelplug.formats.weight_index import indexed_files
from modelplug_migrators.resnet_bk.checkpoints import forms
from modelplug_migrators.resnet_bk.checkpoints.content import OldCheckpoint
from modelplug_migrators.resnet_bk.checkpoints.naming import is_own_name, strip_prefixes
from modelplug_migrators.resnet_bk.checkpoints.reading.archives import (
    ZSTANDARD,
    Archive,
    is_torch_file,
    open_archive,
)
from modelplug_migrators.resnet_bk.checkpoints.reading.modules import is_module, state_dict_of
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import NotDataError, Ref, plain_value
from modelplug_migrators.resnet_bk.checkpoints.reading.weights import open_safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["INDEXES", "NotOursError", "open_old", "weight_files"]

CONFIG_FILE = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_RANDOM = frozenset({"random_state", "rng_state", "rng_states"})
_CONFIGS = ("config", "model_config", "hyper_parameters")
# What transformers' Trainer puts beside a model.
_COMPANIONS = {"optimizer.pt": "optimizer", "optimizer.bin": "optimizer", "scheduler.pt": "scheduler"}
_RANDOM_FILE = "rng_state.pth"
_TRAINER_FILE = "trainer_state.json"


class NotOursError(Exception):
    """A file or folder is no checkpoint of this family."""


def open_old(path: Path) -> OldCheckpoint:
    """Read what a checkpoint consists of, but no values of tensors.

    Args:
        path: The file or folder.

    Raises:
        NotOursError: It is none of this family's.
        ModelFileError: It is damaged, or holds what is no data.
        MigrationError: It is recognised, and can't be read.
    """
    if path.is_dir():
        return _open_folder(path)
    with path.open("rb") as stream:
        head = stream.read(9)
    if head.startswith(ZSTANDARD):
        raise MigrationError(
            f"{path.name} is compressed with Zstandard",
            why="the tensors in it can't be reached before it is unpacked",
            advice=f"`zstd -d {path.name}` unpacks it.",
        )
    if head[8:9] == b"{":
        return _from_root(path, forms.BARE, _safetensors(path))
    if not is_torch_file(head):
        raise NotOursError
    archive = open_archive(path)
    return _from_archive(archive)


def _safetensors(path: Path, place: str = "") -> dict[str, Ref]:
    found = open_safetensors(path).tensors
    return {name: Ref(f"{place}{name}", tensor) for name, tensor in found.items()}


# Files of torch.save --------------------------------------------------------------------------------------


def _from_archive(archive: Archive) -> OldCheckpoint:
    root = _without_modules(archive.root)
    if not isinstance(root, dict):
        raise NotOursError
    _demand_ours(root)
    _refuse_calls(archive)
    value, _, classes = plain_value(archive, root)
    form = forms.form_of(str(name) for name in root)
    entry = forms.model_entry(value)
    if entry is None:
        bare = forms.COMPRESSED if form is forms.COMPRESSED else forms.BARE
        return attrs.evolve(_from_root(archive.path, bare, value), classes=classes)
    model = value.pop(entry)
    checkpoint = _from_root(archive.path, form or _unknown_form(entry), model)
    _take_entries(checkpoint, value)
    checkpoint.classes = classes
    return checkpoint


def _without_modules(root: Any) -> Any:
    """The same, with the tensors of modules that were pickled as a whole in their place."""
    if is_module(root):
        return state_dict_of(root)
    if isinstance(root, dict):
        return {name: state_dict_of(item) if is_module(item) else item for name, item in root.items()}
    return root


def _demand_ours(root: Mapping[Any, Any]) -> None:
    """Make sure that it is a checkpoint of this family, by the names of its tensors."""
    if forms.form_of(str(name) for name in root) is forms.COMPRESSED:
        return
    entry = forms.model_entry(root)
    names = root if entry is None else root[entry]
    if not any(isinstance(name, str) and is_own_name(name) for name in names):
        raise NotOursError


def _refuse_calls(archive: Archive) -> None:
    if archive.calls:
        raise NotDataError(
            f"{archive.path.name} holds something that is no data",
            path=archive.path,
            offset=0,
            why=f"loading it would call {', '.join(archive.calls[:5])}",
            advice="Do not load it, unless you know why it does that.",
        )


def _unknown_form(entry: str) -> forms.Form:
    return forms.Form(name=f"a program of its own, with the model under {entry}", entries=frozenset())


def _from_root(path: Path, form: forms.Form, model: Mapping[Any, Any]) -> OldCheckpoint:
    """A checkpoint with this model in it, and nothing else yet."""
    tensors = {str(name): value for name, value in model.items() if isinstance(value, Ref)}
    if form is not forms.COMPRESSED and not any(is_own_name(name) for name in tensors):
        raise NotOursError
    prefix = strip_prefixes(tensors)
    checkpoint = OldCheckpoint(
        path=path,
        form=form,
        prefix=prefix,
        model={name[len(prefix) :]: ref for name, ref in tensors.items()},
    )
    checkpoint.entries = {str(name): value for name, value in model.items() if not isinstance(value, Ref)}
    return checkpoint


def _take_entries(checkpoint: OldCheckpoint, entries: Mapping[Any, Any]) -> None:
    """Sort everything beside the model."""
    for key, value in entries.items():
        name = str(key)
        if name in _CONFIGS and isinstance(value, dict) and not checkpoint.config_place:
            checkpoint.config = {str(key): item for key, item in value.items()}
            checkpoint.config_place = name
        elif name in _RANDOM:
            checkpoint.random[name] = value
        elif name in forms.STATES or name.endswith("_state_dict"):
            checkpoint.states[name] = _only_one(value)
        else:
            checkpoint.entries[name] = value


def _only_one(value: Any) -> Any:
    """A state, taken out of the list in which Lightning holds those of several optimizers."""
    if isinstance(value, list) and len(value) < 2:
        return value[0] if value else None
    return value


# Folders --------------------------------------------------------------------------------------------------


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files of a folder that hold a model's tensors; none if there are none.

    Args:
        folder: The folder.

    Raises:
        ModelFileError: An index names files that are not there.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return (folder / name,)
    for name in INDEXES:
        if (folder / name).is_file():
            return tuple(indexed_files(folder / name))
    return ()


def _open_folder(folder: Path) -> OldCheckpoint:
    weights = weight_files(folder)
    if not weights or not (folder / CONFIG_FILE).is_file():
        raise NotOursError
    tensors: dict[str, Ref] = {}
    for path in weights:
        place = f"{path.name}/"
        tensors.update(_safetensors(path, place) if path.suffix == ".safetensors" else _shard(path, place))
    checkpoint = _from_root(folder, forms.FOLDER, tensors)
    checkpoint.config = _read_json(folder / CONFIG_FILE)
    checkpoint.config_place = CONFIG_FILE
    checkpoint.weights = weights
    indexes = {folder / name for name in INDEXES}
    known = {folder / CONFIG_FILE, *weights, *indexes}
    for name, state in _COMPANIONS.items():
        if (folder / name).is_file():
            checkpoint.states[f"{state}_state_dict"] = _value_of(folder / name, f"{name}/")
            known.add(folder / name)
    if (folder / _RANDOM_FILE).is_file():
        checkpoint.random["random_state"] = _value_of(folder / _RANDOM_FILE, f"{_RANDOM_FILE}/")
        known.add(folder / _RANDOM_FILE)
    if (folder / _TRAINER_FILE).is_file():
        checkpoint.entries.update(_read_json(folder / _TRAINER_FILE))
        known.add(folder / _TRAINER_FILE)
    checkpoint.carried = tuple(
        path for path in sorted(folder.rglob("*")) if path.is_file() and path not in known
    )
    return checkpoint


def _shard(path: Path, place: str) -> dict[str, Ref]:
    value = _value_of(path, place)
    if not isinstance(value, dict):
        raise NotOursError
    return {str(name): item for name, item in value.items() if isinstance(item, Ref)}


def _value_of(path: Path, place: str) -> Any:
    archive = open_archive(path)
    _refuse_calls(archive)
    value, refs, _ = plain_value(archive, archive.root)
    return _renamed(value, {ref: attrs.evolve(ref, key=f"{place}{key}") for key, ref in refs.items()})


def _renamed(value: Any, renamed: Mapping[Ref, Ref]) -> Any:
    if isinstance(value, Ref):
        return renamed[value]
    if isinstance(value, dict):
        return type(value)({key: _renamed(item, renamed) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_renamed(item, renamed) for item in value)
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path.name} can't be understood",
            path=path,
            offset=0,
            why=str(error),
            advice="Correct it, then plan again.",
        ) from error
    return value if isinstance(value, dict) else {}
