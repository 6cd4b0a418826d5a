"""A small family of checkpoints: a file of tensors that becomes a folder. A plugin for tests.

Version 1 is a line `CRATE`, a line of JSON, and the values of all tensors. Version 2 is a folder with
`data.safetensors` and `crate.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelplug import Confidence, Detection, Family, FamilyVersion, Kind, Migration, Version, hookimpl
from modelplug.errors import MigrationError
from modelplug.formats.safetensors import read_safetensors
from modelplug.migration.candidates import Candidate
from modelplug.migration.checkpoints import (
    Build,
    CheckpointEditor,
    CheckpointSource,
    MadeTensor,
    NewFile,
    Receipt,
    TensorData,
    TensorFate,
)
from modelplug.migration.checkpoints.safetensors_file import safetensors_file
from modelplug.migration.steps import StepContext

MODELPLUG_HOOKSPEC_VERSION = "1.0"
MAGIC = b"CRATE\n"
ADDED = MadeTensor("I64", (), bytes(8))


@attrs.frozen
class FileTensor:
    """A tensor of bytes in a file.

    Attributes:
        path: The file.
        start: Where it begins.
        shape: Its dimensions.
        dtype: Its type.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: str = "U8"

    @property
    def size(self) -> int:
        """Bytes that its values take."""
        size = 8 if self.dtype == "I64" else 1
        for length in self.shape:
            size *= length
        return size

    @property
    def place(self) -> tuple[Path, int]:
        """Where they stand."""
        return self.path, self.start

    def chunks(self) -> Iterator[bytes]:
        """Its values, a few at a time."""
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            left = self.size
            while left and (chunk := stream.read(min(left, 1 << 20))):
                left -= len(chunk)
                yield chunk


def write_crate(path: Path, tensors: Mapping[str, bytes], **values: Any) -> None:
    """Write a checkpoint of version 1."""
    header = {"tensors": {name: len(data) for name, data in tensors.items()}, "values": values}
    path.write_bytes(MAGIC + json.dumps(header).encode() + b"\n" + b"".join(tensors.values()))


class CrateFormat:
    """Reads both versions."""

    def open(self, path: Path) -> CheckpointSource:
        """What a crate holds."""
        return _open_folder(path) if path.is_dir() else _open_file(path)

    def compare(self, result: Path, reference: Path) -> str:
        """The reference is the sum of all bytes."""
        wanted = int(reference.read_text())
        found = sum(sum(b"".join(tensor.chunks())) for tensor in self.open(result).tensors.values())
        if found != wanted:
            raise MigrationError(f"the sum is {found} and not {wanted}", advice="Look again.")
        return f"the sum is {found}"


def _open_file(path: Path) -> CheckpointSource:
    with path.open("rb") as stream:
        stream.readline()
        header = json.loads(stream.readline())
        position = stream.tell()
    tensors: dict[str, TensorData] = {}
    for name, size in header["tensors"].items():
        tensors[name] = FileTensor(path, position, (size,))
        position += size
    return CheckpointSource(tensors=tensors, values=header["values"], content=header, files=(path,))


def _open_folder(path: Path) -> CheckpointSource:
    file = path / "data.safetensors"
    header = json.loads(file.read_bytes()[8 : read_safetensors(file).header_bytes])
    start = read_safetensors(file).header_bytes
    tensors: dict[str, TensorData] = {
        name: FileTensor(file, start + entry["data_offsets"][0], tuple(entry["shape"]), entry["dtype"])
        for name, entry in header.items()
    }
    return CheckpointSource(tensors=tensors, content=None, files=tuple(sorted(path.iterdir())))


def detect(candidate: Candidate) -> Iterator[Detection]:
    """A file by its first line, a folder by its `crate.json`."""
    version = None
    if candidate.is_folder and (candidate.path / "crate.json").is_file():
        version = Version(json.loads((candidate.path / "crate.json").read_text())["version"])
    elif candidate.head(6) == MAGIC:
        version = Version(1)
    if version is not None:
        yield Detection(
            family="crate",
            kind=Kind.CHECKPOINT,
            version=version,
            confidence=Confidence.CERTAIN,
            evidence=("it is a crate",),
        )


class OneToTwo(Migration):
    """A folder takes the place of the file.

    `flip` is turned round, `junk` goes, and a counter comes. What the value `fault` names goes wrong.
    """

    family = "crate"
    kind = Kind.CHECKPOINT
    source = Version(1)
    target = Version(2)

    def upgrade(self, artifact: CheckpointEditor, context: StepContext) -> None:
        """Say what becomes of every tensor."""
        fault = artifact.content["values"].get("fault", "")
        if fault == "error":
            artifact.error("this crate can't be migrated")
            return
        written: dict[str, tuple[str, TensorData]] = {}
        for name, tensor in artifact.source.tensors.items():
            if name == "junk":
                artifact.drop(name, why="nobody wants it")
            elif name == "flip":
                turned = MadeTensor("U8", tensor.shape, b"".join(tensor.chunks())[::-1])
                artifact.transform(name, "flipped", turned, how="turned round")
                written["flipped"] = ("flipped", turned)
            elif not (fault == "forget" and name == "layers.0"):
                artifact.move(name, f"new.{name}")
                written[f"new.{name}"] = (f"new.{name}", tensor)
        artifact.add("counter", ADDED, why="it counts")
        written["counter"] = ("counter", ADDED)
        if fault == "lie":
            # The account says that it is the same tensor, and the file says something else.
            written["new.layers.0"] = ("new.layers.0", MadeTensor("U8", (4,), b"lies"))
        for name in artifact.source.values:
            artifact.carry(name, f"crate.json/{name}", extra=True)
        version = 1 if fault == "version" else 2
        files = [safetensors_file("data.safetensors", written)]
        if fault == "short":
            files.append(NewFile(name="short", size=1, write=lambda sink: sink.tensor("x", Short())))
        artifact.build = Build(
            path=result_path(artifact.path),
            replaces=(artifact.path,),
            files=tuple(files),
            seal=Seal(version, artifact),
        )


def result_path(path: Path) -> Path:
    """A folder keeps its name, and a file loses its ending."""
    return path if path.is_dir() else path.with_suffix("")


@attrs.frozen
class Seal:
    """Writes `crate.json`.

    Attributes:
        version: The version that it says.
        editor: What the steps made.
    """

    version: int
    editor: CheckpointEditor

    def __call__(self, receipt: Receipt, fates: Sequence[TensorFate]) -> dict[str, bytes]:
        """The last file."""
        content = {
            "version": self.version,
            "chain": list(self.editor.chain),
            "sources": {path.name: each.sha256 for path, each in receipt.sources.items()},
            "before": receipt.before,
            "after": receipt.after,
            "values": self.editor.content["values"],
        }
        return {"crate.json": json.dumps(content).encode()}


class Short:
    """A tensor that gives fewer values than it says."""

    dtype = "U8"
    shape = (8,)
    size = 8
    place = None

    def chunks(self) -> Iterator[bytes]:
        """Half of them."""
        yield b"1234"


CRATE = Family(
    name="crate",
    title="Crates",
    versions=(FamilyVersion(version=Version(1)), FamilyVersion(version=Version(2))),
    detect=detect,
    oldest=Version(1),
    checkpoints=CrateFormat(),
)


@hookimpl
def modelplug_migrations() -> Iterable[Family | type[Migration]]:
    """Give the family and its step."""
    return [CRATE, OneToTwo]


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()
