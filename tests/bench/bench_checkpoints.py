"""How fast a checkpoint of 4 GB is migrated, against copying it, and how much memory that takes.

Of each form there is: a file of `torch.save`, a safetensors file, and folders with a model in several files
of either kind. Each is a whole process on one disk, durability included; a copy is synced to the disk, too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from modelplug.migration.checkpoints import NewFile, TensorData
from modelplug.migration.checkpoints.safetensors_file import safetensors_file
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.torch_file import torch_file

WIDTH = 2048
LENGTH = 512
VOCABULARY = 65536
EXPERTS = 4
LAYERS = 12
SHARDS = 3
ROUNDS = 3
CHUNK = 1 << 22
LARGEST = VOCABULARY * WIDTH * 4
MEMORY_LIMIT = 1.3 * LARGEST + 300e6

MEASURED = """
import json, resource, subprocess, sys
process = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"peak": peak, "result": json.loads(process.stdout)}))
"""
COPYING = """
import os, pathlib, shutil, sys
path, target = map(pathlib.Path, sys.argv[1:])
(shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
for file in [target, *target.rglob("*")] if target.is_dir() else [target]:
    os.fsync(os.open(file, os.O_RDONLY))
"""


@attrs.frozen
class Filler:
    """A tensor of numbers that are the same in every megabyte.

    Attributes:
        shape: Its dimensions.
        block: A megabyte of values.
        dtype: Their type.
    """

    shape: tuple[int, ...]
    block: bytes
    dtype: str = "F32"

    @property
    def size(self) -> int:
        """Bytes that its values take."""
        count = 8 if self.dtype == "C64" else 4
        for length in self.shape:
            count *= length
        return count

    @property
    def place(self) -> None:
        """They stand in no file."""

    def chunks(self) -> Iterator[bytes]:
        """Its values."""
        left = self.size
        large = self.block * (CHUNK // len(self.block))
        while left:
            chunk = large[: min(left, len(large))]
            left -= len(chunk)
            yield chunk


class FileSink:
    """Writes a file."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self.stream.write(data)

    def tensor(self, name: str, tensor: TensorData, watch: Callable[[bytes], None] | None = None) -> None:
        """Write a tensor's values."""
        for chunk in tensor.chunks():
            self.stream.write(chunk)
            if watch is not None:
                watch(chunk)


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a model of 0.9 that takes 4 GB."""
    yield "token_embedding.weight", (VOCABULARY, WIDTH)
    yield "position_embedding.weight", (LENGTH, WIDTH)
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        yield f"{block}layer_norm.weight", (WIDTH,)
        yield f"{block}layer_norm.bias", (WIDTH,)
        yield f"{block}bk_layer.bk_scale", ()
        for expert in range(EXPERTS):
            name = f"{block}bk_layer.moe_ffn.experts.{expert}."
            yield f"{name}0.weight", (2 * WIDTH, WIDTH)
            yield f"{name}0.bias", (2 * WIDTH,)
            yield f"{name}3.weight", (WIDTH, 2 * WIDTH)
            yield f"{name}3.bias", (WIDTH,)
        yield f"{block}bk_layer.moe_ffn.gating_network.weight", (EXPERTS, WIDTH)
        yield f"{block}bk_layer.moe_ffn.gating_network.bias", (EXPERTS,)
        yield f"{block}bk_layer.v_proj.weight", (1, WIDTH)
        yield f"{block}bk_layer.v_proj.bias", (1,)
        yield f"{block}bk_layer.output_proj.weight", (WIDTH, 2)
        yield f"{block}bk_layer.output_proj.bias", (WIDTH,)
    yield "layer_norm_final.weight", (WIDTH,)
    yield "layer_norm_final.bias", (WIDTH,)
    yield "lm_head.weight", (VOCABULARY, WIDTH)
    yield "lm_head.bias", (VOCABULARY,)


Tensors = dict[str, Filler]


def write_torch_file(path: Path, tensors: Tensors) -> None:
    """A checkpoint as `torch.save` writes it."""
    state = OrderedDict((name, Ref(name, tensor)) for name, tensor in tensors.items())
    write(path, torch_file(path.name, {"model": state, "epoch": 1, "step": 1, "config": {"top_k": 1}}))


def write_safetensors_file(path: Path, tensors: Tensors) -> None:
    """A model alone."""
    write(path, safetensors_file(path.name, {name: (name, tensor) for name, tensor in tensors.items()}))


def write_torch_folder(folder: Path, tensors: Tensors) -> None:
    """A model in several files of `torch.save`, with an index."""

    def shard(path: Path, part: Tensors) -> None:
        state = OrderedDict((name, Ref(name, tensor)) for name, tensor in part.items())
        write(path, torch_file(path.name, state))

    write_folder(folder, tensors, "pytorch_model", ".bin", shard)


def write_safetensors_folder(folder: Path, tensors: Tensors) -> None:
    """A model in several safetensors files, with an index."""
    write_folder(folder, tensors, "model", ".safetensors", write_safetensors_file)


def write_folder(
    folder: Path, tensors: Tensors, stem: str, ending: str, shard: Callable[[Path, Tensors], None]
) -> None:
    """A model in several files."""
    folder.mkdir()
    parts: list[Tensors] = [{} for _ in range(SHARDS)]
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].size):
        smallest = min(parts, key=lambda part: sum(held.size for held in part.values()))
        smallest[name] = tensor
    places: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = f"{stem}-{number:05}-of-{SHARDS:05}{ending}"
        places |= dict.fromkeys(part, file)
        shard(folder / file, part)
    (folder / f"{stem}{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps({"vocab_size": VOCABULARY, "d_model": WIDTH, "top_k": 1}))


def write(path: Path, file: NewFile) -> None:
    """Write a file, until it is on the disk."""
    sink = FileSink(path)
    file.write(sink)
    os.fsync(sink.stream.fileno())
    sink.stream.close()


FORMS: dict[str, tuple[str, Callable[[Path, Tensors], None]]] = {
    "torch file": ("large.pt", write_torch_file),
    "safetensors file": ("large.safetensors", write_safetensors_file),
    "folder of torch files": ("torch-folder", write_torch_folder),
    "folder of safetensors files": ("safetensors-folder", write_safetensors_folder),
}


def copy_seconds(path: Path) -> float:
    """Copy the file or folder, until the copy is on the disk."""
    target = path.with_name("copy")
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COPYING, str(path), str(target)], check=True)
    seconds = time.perf_counter() - began
    remove(target)
    return seconds


def migrate(path: Path, home: Path) -> tuple[float, int]:
    """Seconds and bytes of memory that migrating takes; the checkpoint is brought back afterwards."""
    environ = {**os.environ, "MODELPLUG_HOME": str(home)}
    program = [sys.executable, "-m", "modelplug", "migrate"]
    options = ["--yes", "--json", "--option", "top_k=1"]
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, *program, "apply", str(path), *options],
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = time.perf_counter() - began
    measured = json.loads(process.stdout)
    assert measured["result"]["made"] == [str(path if path.is_dir() else path.with_suffix(""))]
    subprocess.run([*program, "rollback", "--yes"], env=environ, stdout=subprocess.DEVNULL, check=True)
    for leftover in (home / "migrations").glob("*/moved/*/*"):
        remove(leftover)
    return seconds, measured["peak"]


def remove(path: Path) -> None:
    """Remove a file or folder."""
    subprocess.run(["rm", "-r", str(path)], check=True)


def main(out: Path) -> list[dict[str, Any]]:
    """Copy and migrate each form in turn, and take the medians."""
    block = os.urandom(1 << 20)
    tensors = {name: Filler(shape, block) for name, shape in shapes()}
    size = sum(tensor.size for tensor in tensors.values())
    records = []
    for form, (name, make) in FORMS.items():
        with tempfile.TemporaryDirectory(dir=out, prefix="checkpoints-") as scratch:
            path = Path(scratch) / name
            make(path, tensors)
            copies, migrations, peaks = [], [], []
            for number in range(ROUNDS):
                copies.append(copy_seconds(path))
                seconds, peak = migrate(path, Path(scratch) / f"home-{number}")
                migrations.append(seconds)
                peaks.append(peak)
        copied, migrated = statistics.median(copies), statistics.median(migrations)
        title = f"migrate a {form} of {size / 1e9:.1f} GB"
        speeds = f"{size / migrated / 1e6:.0f} MB/s, where copying makes {size / copied / 1e6:.0f}"
        records += [
            record(f"{title}: speed by that of copying ({speeds})", copied / migrated, "", 0.5, "higher"),
            record(f"{title}: peak memory", max(peaks) / 1e6, "MB", MEMORY_LIMIT / 1e6, "lower"),
        ]
    return records


def record(name: str, value: float, unit: str, threshold: float, better: str) -> dict[str, Any]:
    """One figure."""
    return {"name": name, "value": value, "unit": unit, "threshold": threshold, "better": better}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=2))
