"""How fast a checkpoint of 4 GB is migrated, against copying the file, and how much memory that takes.

Each is a whole process on one disk, durability included; a copy is synced to the disk, too.
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

from modelplug.migration.checkpoints import TensorData
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.torch_file import torch_file

WIDTH = 2048
LENGTH = 512
VOCABULARY = 65536
EXPERTS = 4
LAYERS = 12
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


def write_checkpoint(path: Path) -> None:
    """A checkpoint as `torch.save` writes it."""
    block = os.urandom(1 << 20)
    state = OrderedDict((name, Ref(name, Filler(shape, block))) for name, shape in shapes())
    sink = FileSink(path)
    torch_file(path.name, {"model": state, "epoch": 1, "step": 1, "config": {"top_k": 1}}).write(sink)
    os.fsync(sink.stream.fileno())
    sink.stream.close()


def copy_seconds(path: Path) -> float:
    """Copy the file, until the copy is on the disk."""
    target = path.with_name("copy.pt")
    began = time.perf_counter()
    script = (
        "import os, shutil, sys; shutil.copyfile(*sys.argv[1:]); "
        "f = os.open(sys.argv[2], os.O_RDONLY); os.fsync(f)"
    )
    subprocess.run([sys.executable, "-c", script, str(path), str(target)], check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def migrate(path: Path, home: Path) -> tuple[float, int]:
    """Seconds and bytes of memory that migrating takes; the file is brought back afterwards."""
    environ = {**os.environ, "MODELPLUG_HOME": str(home)}
    program = [sys.executable, "-m", "modelplug", "migrate"]
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, *program, "apply", str(path), "--yes", "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = time.perf_counter() - began
    measured = json.loads(process.stdout)
    assert measured["result"]["made"] == [str(path.with_suffix(""))]
    subprocess.run([*program, "rollback", "--yes"], env=environ, stdout=subprocess.DEVNULL, check=True)
    for leftover in (home / "migrations").glob("*/moved/*/*"):
        subprocess.run(["rm", "-r", str(leftover)], check=True)
    return seconds, measured["peak"]


def main(out: Path) -> list[dict[str, Any]]:
    """Copy and migrate in turn, and take the medians."""
    with tempfile.TemporaryDirectory(dir=out, prefix="checkpoints-") as scratch:
        path = Path(scratch) / "large.pt"
        write_checkpoint(path)
        size = path.stat().st_size
        copies, migrations, peaks = [], [], []
        for number in range(ROUNDS):
            copies.append(copy_seconds(path))
            seconds, peak = migrate(path, Path(scratch) / f"home-{number}")
            migrations.append(seconds)
            peaks.append(peak)
    copied, migrated = statistics.median(copies), statistics.median(migrations)
    title = f"migrate {size / 1e9:.1f} GB"
    speeds = f"{size / migrated / 1e6:.0f} MB/s, where copying makes {size / copied / 1e6:.0f}"
    return [
        record(f"{title}: speed by that of copying ({speeds})", copied / migrated, "", 0.5, "higher"),
        record(f"{title}: peak memory", max(peaks) / 1e6, "MB", MEMORY_LIMIT / 1e6, "lower"),
    ]


def record(name: str, value: float, unit: str, threshold: float, better: str) -> dict[str, Any]:
    """One figure."""
    return {"name": name, "value": value, "unit": unit, "threshold": threshold, "better": better}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=2))
