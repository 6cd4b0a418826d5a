"""Opens checkpoints of 1.0: folders of data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import ModelFileError
from modelplug_migrators.resnet_bk.checkpoints import layout
from modelplug_migrators.resnet_bk.checkpoints.opening import NotOursError
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.reading.weights import open_safetensors
from modelplug_migrators.resnet_bk.checkpoints.trees import unflatten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["CurrentCheckpoint", "is_current", "open_current"]

_MODEL_TYPE = "resnet_bk"


@attrs.frozen(kw_only=True)
class CurrentCheckpoint:
    """What a checkpoint of 1.0 holds.

    Attributes:
        path: The folder.
        model: The tensors of the model by name; those that have further names under each of them.
        config: The content of `config.json`; empty if there is none.
        training_state: Where training stood.
        states: Name -> the state of an optimizer, a scheduler and the like, with tensors in it.
        metadata: What was known besides.
        others: Files that none of this says anything of.
    """

    path: Path
    model: dict[str, Ref]
    config: dict[str, Any]
    training_state: dict[str, Any]
    states: dict[str, Any]
    metadata: dict[str, Any]
    others: tuple[Path, ...]

    def refs(self) -> dict[str, Ref]:
        """Every tensor there is, by the name that says where it stands."""
        from modelplug_migrators.resnet_bk.checkpoints.content import refs_in

        return {ref.key: ref for part in (self.model, self.states) for ref in refs_in(part)}

    def values(self) -> dict[str, Any]:
        """Every plain value there is, by a name that says where it stands."""
        return {
            **{f"config.json/{name}": value for name, value in self.config.items()},
            **{f"training_state/{name}": value for name, value in self.training_state.items()},
            **{f"{name}.json": value for name, value in self.states.items()},
            **{f"metadata/{name}": value for name, value in self.metadata.items()},
            **{path.name: None for path in self.others},
        }


def is_current(folder: Path) -> str:
    """Why a folder is a checkpoint or model of 1.0; empty if it is none.

    Args:
        folder: The folder.
    """
    if not (folder / layout.MODEL_FILE).is_file():
        return ""
    if _plain_json(folder / layout.METADATA_FILE).get("format") == layout.FORMAT:
        return f"{layout.METADATA_FILE} is that of a {layout.FORMAT}"
    config = _plain_json(folder / layout.CONFIG_FILE)
    if config.get("model_type") == _MODEL_TYPE and "mixer" in config:
        return f"{layout.CONFIG_FILE} is that of a model of 1.0, with a mixer"
    return ""


def format_version(folder: Path) -> str:
    """The version of the folder's layout; that of 1.0 for a model without `metadata.json`.

    Args:
        folder: The folder.
    """
    return str(_plain_json(folder / layout.METADATA_FILE).get("format_version", layout.FORMAT_VERSION))


def open_current(folder: Path) -> CurrentCheckpoint:
    """Read what a checkpoint of 1.0 consists of, but no values of tensors.

    Args:
        folder: The folder.

    Raises:
        NotOursError: It is none.
        ModelFileError: It is damaged.
    """
    if not is_current(folder):
        raise NotOursError
    metadata = _plain_json(folder / layout.METADATA_FILE)
    names = metadata.get("states") or []
    content = open_safetensors(folder / layout.MODEL_FILE)
    tensors = {name: Ref(f"model/{name}", tensor) for name, tensor in content.tensors.items()}
    for name, kept in content.metadata.items():
        if kept in tensors and name not in tensors:
            tensors[name] = Ref(f"model/{name}", tensors[kept].tensor)
    try:
        states = {str(name): _state(folder, str(name)) for name in names}
        training_state = unflatten(_plain_json(folder / layout.STATE_FILE), {})
    except (KeyError, ValueError, TypeError, OSError, RecursionError) as error:
        raise ModelFileError(
            f"the checkpoint {folder.name} is damaged",
            path=folder,
            offset=0,
            why=f"its states can't be understood ({error})",
            advice="Take an earlier checkpoint.",
        ) from error
    known = {
        layout.MODEL_FILE,
        layout.CONFIG_FILE,
        layout.STATE_FILE,
        layout.METADATA_FILE,
        layout.ACCOUNT_FILE,
    }
    known |= {f"{name}{ending}" for name in states for ending in (".json", ".safetensors")}
    return CurrentCheckpoint(
        path=folder,
        model=tensors,
        config=_plain_json(folder / layout.CONFIG_FILE),
        training_state=training_state,
        states=states,
        metadata=_given(metadata),
        others=tuple(path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in known),
    )


def _state(folder: Path, name: str) -> Any:
    path = folder / f"{name}.safetensors"
    tensors: Mapping[str, Ref] = {}
    if path.is_file():
        found = open_safetensors(path).tensors
        tensors = {key: Ref(f"{name}/{key}", tensor) for key, tensor in found.items()}
    return unflatten(json.loads((folder / f"{name}.json").read_bytes()), tensors)


def _given(metadata: Mapping[str, Any]) -> dict[str, Any]:
    given = metadata.get("metadata")
    return dict(given) if isinstance(given, dict) else {}


def _plain_json(path: Path) -> dict[str, Any]:
    """The object in a small JSON file; an empty one where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
