"""What a checkpoint folder of the 1.0 format holds.

- `model.safetensors`: the model's tensors, each once; names that share a tensor stand in the header.
- `config.json`: the model's configuration, if it has one; a folder with both is one transformers can load.
- `training_state.json`: where training stands, and the states of the random number generators.
- `optimizer.json`, `optimizer.safetensors`, and the same for `scheduler`, `scaler` and further states: the
  state as JSON, in which `{"$": "tensor", "name": ...}` stands for an entry of the safetensors file.
- `metadata.json`: format version, who wrote it, size and SHA-256 of every other file, and of itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from resnet_bk.checkpoints.staging import FileRecord

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "FutureFormatError",
    "Metadata",
    "MetadataError",
    "checkpoint_folders",
    "folder_name",
]

FORMAT: Final = "resnet-bk-checkpoint"
FORMAT_VERSION: Final = "1.0.0"
MODEL_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
STATE_FILE: Final = "training_state.json"
METADATA_FILE: Final = "metadata.json"

_NAME: Final = re.compile(r"checkpoint-(\d+)-epoch-\d+-step-\d+")


class MetadataError(ValueError):
    """A `metadata.json` is not what this program writes."""


class FutureFormatError(Exception):
    """A checkpoint is of a later format than this program knows.

    Attributes:
        version: Its format version.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(version)


@attrs.frozen(kw_only=True)
class Metadata:
    """The content of `metadata.json`.

    Attributes:
        format_version: Of the folder's layout.
        version: Of the model family the checkpoint belongs to; what the caller's metadata say, or 1.0.0.
        sequence: Its place in the order in which checkpoints were saved here.
        epoch: Passes over the data that were finished.
        step: Updates so far.
        metric: What the best checkpoint is chosen by; None if it was not measured.
        created: When it was saved, in ISO 8601, UTC.
        tool: Name and version of the program that wrote it.
        source_hash: SHA-256 over this package's source.
        environment: Versions of Python and torch, and the platform.
        files: Every other file.
        states: The names of the states beside the model, for example `optimizer`.
        metadata: What the caller gave.
    """

    format_version: str = FORMAT_VERSION
    version: str = FORMAT_VERSION
    sequence: int
    epoch: int
    step: int
    metric: float | None = None
    created: str
    tool: dict[str, str]
    source_hash: str
    environment: dict[str, str]
    files: dict[str, FileRecord]
    states: list[str] = attrs.field(factory=list)
    metadata: dict[str, Any] = attrs.field(factory=dict)

    def to_text(self) -> str:
        """The content of the file.

        Raises:
            TypeError: The caller's metadata hold something that JSON can't.
            ValueError: The same, for NaN and infinities.
        """
        # As it will be when it is read: keys are texts then, and tuples lists.
        content = json.loads(json.dumps({"format": FORMAT, **attrs.asdict(self)}, allow_nan=False))
        return json.dumps({**content, "sha256": _checksum(content)}, indent=1)

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """The content of a file.

        Raises:
            MetadataError: It can't be read, or is not what was written.
            FutureFormatError: A later program wrote it.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise MetadataError(f"{path.name} is missing") from error
        except (OSError, ValueError) as error:
            raise MetadataError(f"{path.name} can't be read: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise MetadataError(f"{path.name} is not that of a checkpoint")
        version = str(content.get("format_version"))
        if not version.startswith(FORMAT_VERSION.partition(".")[0] + "."):
            raise FutureFormatError(version)
        if content.pop("sha256", None) != _checksum(content):
            raise MetadataError(f"{path.name} was changed since it was written")
        names = {field.name for field in attrs.fields(cls)}
        known = {key: value for key, value in content.items() if key in names}
        try:
            known["files"] = {name: FileRecord(**record) for name, record in content["files"].items()}
            return cls(**known)
        except (AttributeError, KeyError, TypeError) as error:
            raise MetadataError(f"{path.name} lacks an entry: {error}") from error


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def folder_name(sequence: int, epoch: int, step: int) -> str:
    """The name of a checkpoint's folder; later ones have higher first numbers."""
    return f"checkpoint-{sequence:06d}-epoch-{epoch}-step-{step}"


def checkpoint_folders(parent: Path) -> list[tuple[int, Path]]:
    """Every folder that bears the name of a checkpoint, with its place in the order, newest first."""
    if not parent.is_dir():
        return []
    found = [(int(match[1]), entry) for entry in parent.iterdir() if (match := _NAME.fullmatch(entry.name))]
    return sorted(found, reverse=True)
