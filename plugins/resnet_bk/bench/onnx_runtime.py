"""Times the bundled model in ONNX Runtime and here, on one core: whole texts, and a token of a stream.

    python plugins/resnet_bk/bench/onnx_runtime.py [--lengths 64,512,2048,8192]

Both take turns; the least wall time of several runs is shown, and how far the results are apart.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch

from resnet_bk import ResNetBK, export_to_onnx
from resnet_bk.backend.demo_model import demo_directory

RUNS, TOKENS = 7, 200
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def least(*ways: Callable[[], Any]) -> list[float]:
    """The least seconds of each of several ways, which take turns."""
    found = [float("inf")] * len(ways)
    for _ in range(RUNS):
        for index, way in enumerate(ways):
            started = time.perf_counter()
            way()
            found[index] = min(found[index], time.perf_counter() - started)
    return found


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """A file, to be run with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def whole_texts(model: ResNetBK, path: Path, lengths: list[int]) -> None:
    """Print a line for each length."""
    session = session_of(path)
    for length in lengths:
        tokens = torch.randint(0, model.config.vocab_size, (1, length))
        given = {"input_ids": tokens.numpy()}
        theirs = torch.from_numpy(session.run(None, given)[0])
        ours = model(tokens, use_cache=False).logits
        error = float((theirs - ours).abs().max() / ours.abs().max())
        times = least(
            lambda given=given: session.run(None, given),
            lambda tokens=tokens: model(tokens, use_cache=False),
        )
        shown = "  ".join(f"{1e3 * seconds:8.2f} ms" for seconds in times)
        click.echo(f"{length:6} tokens  {shown}  apart by {error:.1e}")


def streamed(model: ResNetBK, path: Path) -> None:
    """Print a line for a token of a stream."""
    session, stream = session_of(path), model.stream_state()
    _, *inputs = session.get_inputs()
    state = {item.name: np.zeros((1, *item.shape[1:]), KINDS[item.type]) for item in inputs}
    stream.prefill([5])

    def theirs() -> None:
        following = state
        for _ in range(TOKENS):
            _, *rest = session.run(None, {"input_ids": np.array([[5]]), **following})
            following = dict(zip(state, rest, strict=True))

    def ours() -> None:
        for _ in range(TOKENS):
            stream.step(5)

    shown = "  ".join(f"{1e3 * seconds / TOKENS:8.3f} ms" for seconds in least(theirs, ours))
    click.echo(f"a streamed token  {shown}")


@click.command()
@click.option("--lengths", default="64,512,2048,8192", show_default=True, help="Tokens, separated by commas.")
@torch.inference_mode()  # type: ignore[untyped-decorator]
def main(lengths: str) -> None:
    """Export the bundled model both ways, and time it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole.onnx", Path(folder) / "pieces.onnx"
        with torch.inference_mode(False):
            export_to_onnx(model, whole)
            export_to_onnx(model, pieces, with_state=True)
        click.echo("ONNX Runtime, and the kernels here:")
        whole_texts(model, whole, [int(length) for length in lengths.split(",")])
        streamed(model, pieces)


if __name__ == "__main__":
    main()
