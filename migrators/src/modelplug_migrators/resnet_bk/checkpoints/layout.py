"""The files of a 1.0 checkpoint, as they are written here: no torch is needed for that."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.migration.checkpoints import NewFile
from modelplug.migration.checkpoints.ledger import counts_of
from modelplug.migration.checkpoints.safetensors_file import safetensors_file
from modelplug_migrators.resnet_bk.checkpoints.reading.weights import PAIRS
from modelplug_migrators.resnet_bk.checkpoints.trees import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from modelplug.migration.checkpoints import Receipt, TensorData, TensorFate
    from modelplug.migration.checkpoints.build import Sink
    from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref

__all__ = [
    "ACCOUNT_FILE",
    "CONFIG_FILE",
    "FORMAT",
    "FORMAT_VERSION",
    "METADATA_FILE",
    "MODEL_FILE",
    "STATE_FILE",
    "Description",
    "checksum",
    "copied_file",
    "json_file",
    "state_files",
    "tensors_file",
]

FORMAT: Final = "resnet-bk-checkpoint"
FORMAT_VERSION: Final = "1.0.0"
MODEL_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
STATE_FILE: Final = "training_state.json"
METADATA_FILE: Final = "metadata.json"
ACCOUNT_FILE: Final = "migration.json"

_TOOL: Final = "modelplug-migrators"
_CHUNK: Final = 1 << 18


@attrs.frozen
class _Pairs:
    """A tensor of complex numbers of 16 bytes, as pairs: safetensors files have no type for them."""

    tensor: TensorData

    @property
    def dtype(self) -> str:
        """That of each of a pair."""
        return "F64"

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions, the last of them for the pairs."""
        return (*self.tensor.shape, 2)

    @property
    def size(self) -> int:
        """Bytes that the values take."""
        return self.tensor.size

    @property
    def place(self) -> tuple[Path, int] | None:
        """Where they stand."""
        return self.tensor.place

    def chunks(self) -> Iterator[bytes]:
        """The values."""
        return self.tensor.chunks()


def tensors_file(stem: str, tensors: Mapping[str, Ref], metadata: Mapping[str, str] | None = None) -> NewFile:
    """A safetensors file, in which tensors are called as in the account, without the file's name.

    Args:
        stem: The name of the file without its ending.
        tensors: The tensors by name.
        metadata: Texts for the header.

    Raises:
        ValueError: A tensor is of a type that the format can't hold.
    """
    pairs = sorted(name for name, ref in tensors.items() if ref.tensor.dtype == "C128")
    texts = dict(metadata or {})
    if pairs:
        texts[PAIRS] = json.dumps(pairs)
    written: dict[str, tuple[str, TensorData]] = {
        name: (f"{stem}/{name}", _Pairs(ref.tensor) if name in pairs else ref.tensor)
        for name, ref in tensors.items()
    }
    return safetensors_file(f"{stem}.safetensors", written, texts)


def json_file(name: str, value: Any, *, indent: int | None = None) -> NewFile:
    """A JSON file."""
    data = json.dumps(value, indent=indent, allow_nan=False).encode() + b"\n"
    return NewFile(name=name, size=len(data), write=lambda sink: sink.write(data))


def state_files(name: str, value: Any) -> tuple[list[NewFile], dict[str, Ref]]:
    """The files of a state besides the model, such as `optimizer.json` and `optimizer.safetensors`.

    Args:
        name: The name of the state.
        value: The state.

    Returns:
        The files, and the tensors by their names in the second.
    """
    tree, tensors = flatten(value)
    files = [tensors_file(name, tensors)] if tensors else []
    return [*files, json_file(f"{name}.json", tree)], tensors


def copied_file(path: Path, name: str) -> NewFile:
    """A file that is taken over as it is.

    Args:
        path: The file.
        name: Its name in the new folder.
    """

    def write(sink: Sink) -> None:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sink.write(chunk)

    return NewFile(name=name, size=path.stat().st_size, write=write)


@attrs.frozen(kw_only=True)
class Description:
    """What `metadata.json` says, besides what only the finished files say.

    Attributes:
        epoch: Passes over the data.
        step: Updates of the parameters.
        states: Names of the states besides the model.
        source: The checkpoint that was migrated.
        form: What wrote that.
        chain: The steps it went through.
        metadata: What was known of it besides, in plain data.
    """

    epoch: int
    step: int
    states: Sequence[str]
    source: Path
    form: str
    chain: Callable[[], Sequence[str]]
    metadata: Mapping[str, Any]

    def seal(self, receipt: Receipt, fates: Sequence[TensorFate]) -> dict[str, bytes]:
        """The last files: the account of every tensor, and the list of all other files with their hashes."""
        account = json.dumps(_account(receipt, fates), indent=1).encode() + b"\n"
        files = {name: attrs.asdict(each) for name, each in receipt.files.items()}
        files[ACCOUNT_FILE] = {"size": len(account), "sha256": hashlib.sha256(account).hexdigest()}
        sources = {path.name: attrs.asdict(each) for path, each in receipt.sources.items()}
        content: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "version": FORMAT_VERSION,
            "sequence": 0,
            "epoch": self.epoch,
            "step": self.step,
            "metric": None,
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "tool": {"name": _TOOL, "version": importlib.metadata.version(_TOOL)},
            "source_hash": _source_hash(sources),
            "environment": {"python": platform.python_version(), "platform": platform.platform()},
            "files": files,
            "states": sorted(self.states),
            "metadata": {
                **self.metadata,
                "migration": {
                    "source": self.source.name,
                    "written_by": self.form,
                    "files": sources,
                    "chain": list(self.chain()),
                    "tensors": counts_of(fates),
                },
            },
        }
        text = json.dumps({**content, "sha256": checksum(content)}, indent=1, allow_nan=False)
        return {ACCOUNT_FILE: account, METADATA_FILE: text.encode()}


def checksum(content: Mapping[str, Any]) -> str:
    """What `metadata.json` says of itself."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _source_hash(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """The SHA-256 of the one file there was, or of the list of several."""
    if len(sources) == 1:
        return str(next(iter(sources.values()))["sha256"])
    lines = "".join(f"{each['sha256']}  {name}\n" for name, each in sorted(sources.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _account(receipt: Receipt, fates: Sequence[TensorFate]) -> dict[str, Any]:
    """What became of every tensor, with the hashes of its values before and after."""
    return {
        "counts": counts_of(fates),
        "tensors": [
            {
                "fate": fate.kind,
                "before": fate.origin or None,
                "after": fate.target or None,
                "why": fate.why,
                "sha256_before": receipt.before.get(fate.origin),
                "sha256_after": receipt.after.get(fate.target),
            }
            for fate in fates
        ],
    }
