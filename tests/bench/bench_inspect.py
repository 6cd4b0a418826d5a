"""How long inspecting a GGUF file takes, against the gguf package and whatever the file's size."""

from __future__ import annotations

import json
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROUNDS = 15
READER_ROUNDS = 5
VOCABULARY = 32_000
LAYERS = 32

OURS = """
import json, sys, time
from modelplug.formats import inspect
began, busy = time.perf_counter(), time.process_time()
info = inspect(sys.argv[1])
wall, processor = time.perf_counter() - began, time.process_time() - busy
print(json.dumps([wall, processor, info.vocabulary_size]))
"""
THEIRS = """
import json, sys, time
from gguf import GGUFReader
began, busy = time.perf_counter(), time.process_time()
reader = GGUFReader(sys.argv[1])
wall, processor = time.perf_counter() - began, time.process_time() - busy
print(json.dumps([wall, processor, len(reader.fields["tokenizer.ggml.tokens"].data)]))
"""


def string(text: str) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(text)) + text.encode()


def array(key: str, kind: int, count: int, items: bytes) -> bytes:
    """A GGUF entry that is an array."""
    return string(key) + struct.pack("<IIQ", 9, kind, count) + items


def write_model(path: Path, width: int) -> None:
    """Write a GGUF file with 32,000 tokens and 32 layers of `width`; the weights are a hole in the file."""
    numbers = range(VOCABULARY)
    tokens = b"".join(string(f"t{number:x}") for number in numbers)
    merges = b"".join(string(f"a{number:x} b{number:x}") for number in numbers)
    entries = [
        string("general.architecture") + struct.pack("<I", 8) + string("llama"),
        string("llama.block_count") + struct.pack("<II", 4, LAYERS),
        string("llama.embedding_length") + struct.pack("<II", 4, width),
        string("llama.attention.head_count") + struct.pack("<II", 4, 32),
        string("llama.attention.head_count_kv") + struct.pack("<II", 4, 8),
        string("tokenizer.ggml.model") + struct.pack("<I", 8) + string("llama"),
        array("tokenizer.ggml.tokens", 8, VOCABULARY, tokens),
        array("tokenizer.ggml.scores", 6, VOCABULARY, bytes(4 * VOCABULARY)),
        array("tokenizer.ggml.token_type", 5, VOCABULARY, bytes(4 * VOCABULARY)),
        array("tokenizer.ggml.merges", 8, VOCABULARY, merges),
    ]
    names = ["token_embd.weight", "output.weight"]
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    names += [f"blk.{layer}.{part}.weight" for layer in range(LAYERS) for part in parts]
    size = width * width // 32 * 34
    size += -size % 32
    rows = b"".join(
        string(name) + struct.pack("<IQQIQ", 2, width, width, 8, size * number)
        for number, name in enumerate(names)
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(entries)) + b"".join(entries) + rows
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + -len(head) % 32 + size * len(names))


def milliseconds(code: str, path: Path) -> tuple[float, float]:
    """Wall and processor time of the one call that `code` times, in a fresh process after its imports."""
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    wall, processor, vocabulary = json.loads(done.stdout)
    assert vocabulary == VOCABULARY, "both must have read the same file rightly"
    return wall * 1000, processor * 1000


def record(
    name: str, value: float, unit: str, threshold: float, better: str, samples: list[float]
) -> dict[str, Any]:
    """One figure as the runner expects it."""
    passed = value >= threshold if better == "higher" else value <= threshold
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "threshold": threshold,
        "better": better,
        "samples": samples,
        "passed": passed,
    }


def main(_out: Path) -> list[dict[str, Any]]:
    """Time our inspection and the gguf package in turn, each call in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="modelplug-bench-") as directory:
        small, large = Path(directory, "small.gguf"), Path(directory, "large.gguf")
        write_model(small, 256)
        write_model(large, 2304)
        assert large.stat().st_size > 1_000_000_000
        for path in (small, large):
            milliseconds(OURS, path)
        ours, big, theirs = [], [], []
        for number in range(ROUNDS):
            ours.append(milliseconds(OURS, small))
            big.append(milliseconds(OURS, large))
            if number % (ROUNDS // READER_ROUNDS) == 0:
                theirs.append(milliseconds(THEIRS, small))
    # The ratio is taken of processor times, median over median: on a busy machine a call of 5 ms can find a
    # free moment, one of over a second can't, so the least wall times would flatter the short call.
    processor = statistics.median(busy for _, busy in ours)
    ratios = [busy / processor for _, busy in theirs]
    walls, big_walls = [wall for wall, _ in ours], [wall for wall, _ in big]
    return [
        record(
            "gguf.GGUFReader over inspect, 32k vocabulary, processor time",
            statistics.median(ratios),
            "times",
            200,
            "higher",
            ratios,
        ),
        record("inspect, 32k vocabulary, fresh process", statistics.median(walls), "ms", 15, "lower", walls),
        record("inspect, the same in 1 GB", statistics.median(big_walls), "ms", 15, "lower", big_walls),
    ]


if __name__ == "__main__":
    print(json.dumps(main(Path()), indent=2))
