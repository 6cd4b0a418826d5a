"""Writes the files of one checkpoint into a folder in the making."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from resnet_bk._version import __version__
from resnet_bk.checkpoints.errors import StateNotSavableError
from resnet_bk.checkpoints.layout import (
    CONFIG_FILE,
    FORMAT_VERSION,
    METADATA_FILE,
    MODEL_FILE,
    STATE_FILE,
    Metadata,
)
from resnet_bk.checkpoints.tensor_files import UnsupportedTensorError, tensor_chunks
from resnet_bk.checkpoints.trees import UnsupportedValueError, flatten
from resnet_bk.checkpoints.weights import config_of, model_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resnet_bk.checkpoints.staging import Staging

__all__ = ["add_extra_file", "write_metadata", "write_model", "write_state", "write_training_state"]

TOOL: Final = "modelplug-resnet-bk"
_RESERVED: Final = frozenset({MODEL_FILE, CONFIG_FILE, STATE_FILE, METADATA_FILE})


def write_model(staging: Staging, model: torch.nn.Module | Mapping[str, Any], config: object) -> None:
    """Write `model.safetensors`, and `config.json` if there is a configuration.

    Args:
        staging: The folder in the making.
        model: The model or its state dict.
        config: The configuration as data; None takes the model's own.

    Raises:
        StateNotSavableError: Something in it can't be stored.
    """
    tensors, aliases = model_tensors(model, staging.folder)
    try:
        staging.write(MODEL_FILE, tensor_chunks(tensors, {"format": "pt", **aliases}))
    except UnsupportedTensorError as error:
        raise _unsavable("the model", str(error).partition(" ")[0], str(error), staging) from error
    found = config_of(model) if config is None else config
    if found is not None:
        try:
            text = json.dumps(found, indent=2, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise _unsavable("the model's configuration", CONFIG_FILE, str(error), staging) from error
        staging.write(CONFIG_FILE, [f"{text}\n".encode()])


def write_state(staging: Staging, name: str, state: Any) -> None:
    """Write a state as `NAME.json`, and its tensors, if it has any, as `NAME.safetensors`.

    Args:
        staging: The folder in the making.
        name: The name of the state, for example `optimizer`.
        state: Something with `state_dict`, or the state itself.

    Raises:
        StateNotSavableError: Something in it can't be stored.
    """
    value = state.state_dict() if hasattr(state, "state_dict") else state
    try:
        tree, tensors = flatten(value)
        if tensors:
            staging.write(f"{name}.safetensors", tensor_chunks(tensors))
    except UnsupportedValueError as error:
        raise _unsavable(f"the state of the {name}", error.place, str(error), staging) from error
    except UnsupportedTensorError as error:
        raise _unsavable(
            f"the state of the {name}", str(error).partition(" ")[0], str(error), staging
        ) from error
    staging.write(f"{name}.json", [json.dumps(tree, allow_nan=False).encode()])


def write_training_state(staging: Staging, state: Mapping[str, Any]) -> None:
    """Write `training_state.json`.

    Args:
        staging: The folder in the making.
        state: Its content, without tensors.

    Raises:
        StateNotSavableError: Something in it can't be stored.
    """
    try:
        tree, tensors = flatten(dict(state))
    except UnsupportedValueError as error:
        raise _unsavable("the training state", error.place, str(error), staging) from error
    if tensors:
        name = next(iter(tensors))
        raise _unsavable("the training state", name, f"{name} is a tensor", staging)
    staging.write(STATE_FILE, [json.dumps(tree, allow_nan=False).encode()])


def add_extra_file(staging: Staging, name: str, content: bytes) -> None:
    """Write a file that the caller wants beside the others, such as a tokenizer.

    Raises:
        StateNotSavableError: Its name is taken, or leads out of the folder.
    """
    if name in _RESERVED or name in staging.files or Path(name).name != name or name.startswith("."):
        raise _unsavable("the extra file", name, f"{name!r} is not a name it can have", staging)
    staging.write(name, [content])


def write_metadata(staging: Staging, metadata: Mapping[str, Any], **known: Any) -> None:
    """Write `metadata.json`, which names all other files and is therefore the last.

    Args:
        staging: The folder in the making, with everything else in it.
        metadata: What the caller gave.
        known: The sequence, epoch, step and metric.

    Raises:
        StateNotSavableError: The caller's metadata hold something that JSON can't.
    """
    version = str(metadata.get("version", FORMAT_VERSION))
    record = Metadata(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(),
        tool={"name": TOOL, "version": __version__},
        source_hash=source_hash(),
        environment={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "platform": platform.platform(),
        },
        files=dict(staging.files),
        metadata=dict(metadata),
        version=version,
        **known,
    )
    try:
        text = record.to_text()
    except (TypeError, ValueError) as error:
        raise _unsavable("the metadata", METADATA_FILE, str(error), staging) from error
    staging.write(METADATA_FILE, [text.encode()])


@functools.cache
def source_hash() -> str:
    """SHA-256 over the names and contents of this package's Python files."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _unsavable(what: str, place: str, why: str, staging: Staging) -> StateNotSavableError:
    return StateNotSavableError(
        f"{what} can't be stored",
        place=place,
        path=staging.folder.parent,
        why=why,
        advice="Leave out what is no data: a checkpoint is never pickled.",
    )
